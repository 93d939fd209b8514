// Lines of a log: what the platform wrote is quiet, what went wrong is not.
import { memo } from "react";
import type { LogEvent } from "../api";
import { clock } from "../format";

const PLATFORM = /^(START|END|REPORT|INIT_START|XRAY) |^\{"time":"[^"]+","type":"platform\./;
const WRONG = /\b(ERROR|CRITICAL|FATAL|Traceback|Exception)\b|\bError:|"level":\s*"(ERROR|CRITICAL|FATAL)"|Task timed out|Runtime exited/;

export const tone = (text: string) => (PLATFORM.test(text) ? "quiet" : WRONG.test(text) ? "bad" : "");

export const LogLines = memo(function LogLines({ lines, from = false }: { lines: LogEvent[]; from?: boolean }) {
  return (
    <>
      {lines.map((line, i) => (
        <div key={i} className={`log ${tone(line.text)}`}>
          <time>{clock(line.at)}</time>
          {from ? <span className="from clip" title={line.name}>{line.name}</span> : <span />}
          <p>{line.text.replace(/\n$/, "")}</p>
        </div>
      ))}
    </>
  );
});
