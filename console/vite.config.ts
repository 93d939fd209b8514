import { defineConfig } from "vite";

// `npm run dev` shows pages as they are written, with the data of a running server: FORERUN=http://127.0.0.1:9700, and the
// path of a link from `forerun console` at the address that is printed.
const server = process.env.FORERUN ?? "http://127.0.0.1:9700";

// The server serves what is built from its own package: one page for every path under /console, the rest under
// /console/assets with its content's hash in the name.
export default defineConfig({
  base: "/console/",
  esbuild: { jsx: "automatic", legalComments: "none" },
  server: { proxy: { "/console/api": server, "/console/enter": server } },
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
