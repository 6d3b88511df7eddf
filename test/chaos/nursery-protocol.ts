/** What the driver and a nursery tell each other, one JSON a line. */

export type NurseryOrder =
  | {
      readonly order: 'live';
      /** The driver's name for the life to come. */
      readonly life: number;
      readonly port: number;
      /** The step at which it kills itself; 0: none. */
      readonly dieAt: number;
      /** The call from which steps are counted; empty: the first. */
      readonly countFrom: string;
      /** Places at the first of which it kills itself, wherever it is in counting. */
      readonly places: readonly string[];
    }
  | { readonly order: 'signal'; readonly pid: number; readonly signal: NodeJS.Signals };

export type NurseryEvent =
  | { readonly event: 'ready' }
  /** `pid` is 0 where the machine had no room for it. */
  | { readonly event: 'born'; readonly life: number; readonly pid: number }
  /** A child's own word, once it has made its cold start and takes requests. */
  | { readonly event: 'serving'; readonly pid: number }
  /** A child's own last words, written just before it kills itself. */
  | { readonly event: 'dying'; readonly pid: number; readonly place: string }
  | { readonly event: 'died'; readonly pid: number; readonly signal: string | null; readonly code: number };

/** Parent and children write to the same pipe, so that last words come before the death that they tell of. */
export const EVENTS_FD = 3;
