// Before anything is drawn: the mode that was chosen here, if one was.
(() => {
  const mode = localStorage.getItem("forerun.theme");
  if (mode === "dark" || mode === "light") document.documentElement.dataset.theme = mode;
})();
