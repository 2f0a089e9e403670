// A hook for what asks the node something: busy meanwhile, its sentence if it refuses.
import {useRef, useState} from "/vendor/htm-preact.js";

// Returns [{busy: verb or null, problem}, ask(verb, values, then)].
export function useAsk(app) {
  const [its, set] = useState({busy: null, problem: ""});
  const running = useRef(false);
  async function ask(verb, values = {}, then = null) {
    if (running.current) return;
    running.current = true;
    set({busy: verb, problem: ""});
    try {
      const result = await app.act(verb, values);
      set({busy: null, problem: ""});
      then?.(result);
    } catch (error) {
      set({busy: null, problem: error.message});
    } finally {
      running.current = false;
    }
  }
  return [its, ask];
}
