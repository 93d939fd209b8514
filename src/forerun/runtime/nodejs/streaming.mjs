/** Response streaming: `awslambda.streamifyResponse` and what its handlers write to. */
import { Writable } from "node:stream";

export const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
export const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");

const HTTP_TYPE = "application/vnd.awslambda.http-integration-response";
const DELIMITER = Buffer.alloc(8);
const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";

/** A response under way; its request to the host begins with the first byte, so that an early failure is an error. */
export class ResponseStream extends Writable {
  #open;
  #beforeEnd;
  #request;
  #answered;
  #contentType = "application/octet-stream";
  #prelude;

  /** `open(headers)` begins the request; what `beforeEnd()` returns is waited for before it ends. */
  constructor(open, beforeEnd, highWaterMark) {
    super({ highWaterMark: highWaterMark ?? 64 * 1024, decodeStrings: true });
    this.#open = open;
    this.#beforeEnd = beforeEnd;
    /** Rejects when the host refuses the response or goes away. */
    this.broken = new Promise((_resolve, reject) => this.on("error", reject));
    this.broken.catch(() => {});
  }

  setContentType(contentType) {
    if (this.#request) {
      throw new Error("Cannot set content-type, too late.");
    }
    this.#contentType = contentType;
  }

  /** What is sent before the first byte. */
  _setPrelude(prelude) {
    this.#prelude = prelude;
  }

  #start() {
    if (this.#request) {
      return;
    }
    this.#request = this.#open({
      "Content-Type": this.#contentType,
      "Lambda-Runtime-Function-Response-Mode": "streaming",
      "Transfer-Encoding": "chunked",
      Trailer: `${ERROR_TYPE}, ${ERROR_BODY}`,
    });
    this.#answered = new Promise((resolve) => {
      this.#request.on("response", (response) => {
        response.resume();
        response.on("close", resolve);
      });
      this.#request.on("error", (error) => {
        this.destroy(error);
        resolve();
      });
    });
    if (this.#prelude !== undefined) {
      this.#request.write(this.#prelude);
    }
  }

  _write(chunk, _encoding, done) {
    this.#start();
    this.#request.write(chunk, () => done());
  }

  _final(done) {
    this.#start();
    const end = () => this.#request.end(() => done());
    const awaited = this.#beforeEnd();
    if (awaited) {
      awaited.then(end);
    } else {
      end();
    }
  }

  /** The handler is done: end the response if it has not, and wait for the host's word. */
  async finish() {
    if (!this.writableEnded) {
      this.end();
    }
    if (!this.writableFinished) {
      await Promise.race([new Promise((resolve) => this.once("finish", resolve)), this.broken]);
    }
    await this.#answered;
  }

  /** Tell of an error behind what was sent; false when nothing was sent and it has to be reported otherwise. */
  async fail({ errorType, ...rest }) {
    if (!this.#request) {
      return false;
    }
    await this.#beforeEnd();
    if (!this.#request.writableEnded) {
      this.#request.addTrailers({
        [ERROR_TYPE]: encodeURI(errorType),
        [ERROR_BODY]: Buffer.from(JSON.stringify({ errorType, ...rest })).toString("base64"),
      });
      this.#request.end();
    }
    await this.#answered;
    return true;
  }
}

class HttpResponseStream {
  /** Make `stream` an HTTP response: status code, headers and cookies go before its body. */
  static from(stream, metadata) {
    stream.setContentType(HTTP_TYPE);
    stream._setPrelude(Buffer.concat([Buffer.from(JSON.stringify(metadata)), DELIMITER]));
    return stream;
  }
}

/** Offer the global `awslambda` that streaming functions use. */
export function offerStreaming() {
  globalThis.awslambda = {
    ...globalThis.awslambda,
    HttpResponseStream,
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") {
        handler[HIGH_WATER_MARK] = options.highWaterMark;
      }
      return handler;
    },
  };
}
