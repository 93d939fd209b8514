// A question before something is done that cannot be taken back; what went wrong is told in its place.
import { useEffect, useRef, useState, type ReactNode } from "react";
import { Trouble } from "../../parts/small";

interface Props {
  title: string;
  children?: ReactNode;
  verb: string;
  /** It destroys something: then the way back is what Enter chooses. */
  grave?: boolean;
  act: () => Promise<void>;
  close: () => void;
}

export function Ask({ title, children, verb, grave = false, act, close }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const back = useRef<HTMLButtonElement>(null);
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<Error>();
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    if (grave) back.current?.focus();
    return () => (before instanceof HTMLElement ? before.focus() : undefined);
  }, [grave]);
  const go = async () => {
    setBusy(true);
    setFailed(undefined);
    try {
      await act();
      close();
    } catch (error) {
      setFailed(error as Error);
      setBusy(false);
    }
  };
  return (
    <dialog ref={box} className="ask" aria-label={title} onCancel={(event) => { event.preventDefault(); if (!busy) close(); }}
      onKeyDown={(event) => { if (event.key === "Enter" && event.target instanceof HTMLInputElement && !busy) void go(); }}>
      <h2>{title}</h2>
      <div className="stack">{children}{failed && <Trouble error={failed} />}</div>
      <div className="row end">
        <button ref={back} type="button" className="btn" onClick={close} disabled={busy}>Cancel</button>
        <button type="button" className={grave ? "btn grave" : "btn main"} onClick={() => void go()} disabled={busy}>{busy ? "…" : verb}</button>
      </div>
    </dialog>
  );
}
