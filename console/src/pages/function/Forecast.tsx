// What is foreseen of a function, in short.
import { query, useData } from "../../client";
import { hitShare, ofWaited, waste, type FunctionForecast } from "../../foresight";
import { count } from "../../format";
import { Sheet } from "../../parts/small";
import { Link } from "../../route";
import { Coming, windowsOf } from "../foresight/Outlook";

export function ForecastSheet({ name }: { name: string }) {
  const { data } = useData<FunctionForecast | null>(query("perhaps/forecast", { FunctionName: name }), 10);
  if (!data?.Enabled) return null;
  const { Score: score } = data;
  return (
    <Sheet title="Forecast" aside={<Link to={`/foresight?name=${encodeURIComponent(name)}`} className="soft">more</Link>}>
      <div className="body">
        <Coming windows={windowsOf(data)} now={data.Now} />
        <dl className="pairs">
          <div><dt>hits</dt><dd>{hitShare(score)} <span className="faint">{ofWaited(score)}</span></dd></div>
          <div><dt>expected and came</dt><dd>{count(score.Came)} <span className="faint">of {count(score.Expected)}</span></dd></div>
          <div><dt>wasted</dt><dd>{waste(score.WastedGbS)} <span className="faint">GB-s</span></dd></div>
        </dl>
      </div>
    </Sheet>
  );
}
