/** Finds the user's handler: `dir/file.name` or `dir/file.object.name`, in CommonJS or as a module. */
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { HandlerNotFound, ImportModuleError, MalformedHandlerName, UserCodeSyntaxError } from "./errors.mjs";

const EXTENSIONS = ["", ".js", ".mjs", ".cjs"];

/** The handler function. Throws AWS's errors, or what the user's module throws itself. */
export async function loadHandler(root, name) {
  const { folder, file, members } = split(name);
  const exported = await loadModule(root, folder, file);
  const handler = members.split(".").reduce((nested, key) => nested?.[key], exported);
  if (!handler) {
    throw new HandlerNotFound(`${name} is undefined or not exported`);
  }
  if (typeof handler !== "function") {
    throw new HandlerNotFound(`${name} is not a function`);
  }
  return handler;
}

function split(name) {
  if (name.includes("..")) {
    throw new MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) {
    throw new MalformedHandlerName("Bad handler");
  }
  return { folder: name.slice(0, name.length - base.length), file: match[1], members: match[2] };
}

async function loadModule(root, folder, file) {
  const stem = path.resolve(root, folder, file);
  const require = createRequire(import.meta.url);
  try {
    const found = EXTENSIONS.map((extension) => stem + extension).find(isFile);
    if (found === undefined) {
      return require(require.resolve(path.join(folder, file), { paths: [root, path.join(root, folder)] }));
    }
    if (isModule(found, root)) {
      return await import(pathToFileURL(found).href);
    }
    return require(found);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new UserCodeSyntaxError(error);
    }
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
      throw new ImportModuleError(error);
    }
    throw error;
  }
}

function isFile(name) {
  return fs.statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Whether Node takes the file for an ECMAScript module: by its extension, or by the nearest package.json. */
function isModule(name, root) {
  const extension = path.extname(name);
  if (extension !== ".js") {
    return extension === ".mjs";
  }
  for (let folder = path.dirname(name); folder.startsWith(root); folder = path.dirname(folder)) {
    const manifest = path.join(folder, "package.json");
    if (isFile(manifest)) {
      return JSON.parse(fs.readFileSync(manifest, "utf8")).type === "module";
    }
    if (folder === path.dirname(folder)) {
      break;
    }
  }
  return false;
}
