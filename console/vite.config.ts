import { defineConfig } from "vite";

// The server serves what is built from its own package: one page for every path under /console, the rest under
// /console/assets with its content's hash in the name.
export default defineConfig({
  base: "/console/",
  esbuild: { jsx: "automatic", legalComments: "none" },
  build: {
    outDir: "../src/forerun/console/assets",
    emptyOutDir: true,
    assetsDir: "assets",
    // Nothing is inlined as data: the page's policy allows its own server and nothing else.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rollupOptions: { output: { manualChunks: { graph: ["@dagrejs/dagre"], chart: ["uplot"] } } },
  },
});
