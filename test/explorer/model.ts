import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import type { Task } from './programs.ts';

/** What may go wrong, each so many times in one life of a world. */
export interface Faults {
  /** A write is not acknowledged: it was made, or is made at any later moment, or never. */
  readonly losses: number;
  /** An included transaction reverts. */
  readonly reverts: number;
  /** The chain refuses a transfer before it is signed (`insufficient_funds`). */
  readonly refusals: number;
  /** The chain is away when a transfer is prepared. */
  readonly absences: number;
  /** All nodes swear that an included transaction is in no block. */
  readonly lies: number;
  /** The nodes contradict themselves. */
  readonly contradictions: number;
}

export const NO_FAULTS: Faults = {
  losses: 0,
  reverts: 0,
  refusals: 0,
  absences: 0,
  lies: 0,
  contradictions: 0,
};

export interface Actor {
  readonly name: string;
  /** One after the other; a crash ends one, and the next begins with nothing remembered. */
  readonly runs: readonly Task[];
}

/** A small world whose every state is visited. */
export interface Model {
  readonly name: string;
  readonly about: string;
  readonly rules?: Partial<PaymentRules>;
  /** What has been done, undisturbed, before the search begins. */
  readonly before?: readonly Task[];
  /** When the search begins; what was done before was done at the start of time. */
  readonly startTick?: number;
  readonly actors: readonly Actor[];
  /** The last step of time that comes while the actors act. */
  readonly ticks: number;
  readonly faults?: Partial<Faults>;
  /** Where it is too large to be finished: so many states of it are visited. */
  readonly statesMax?: number;
  /** Nodes or people may end a payment wrongly: until the last look has found it, only the books are true. */
  readonly endsWrongly?: true;
  /** Small enough for every run of the tests. */
  readonly inTests?: true;
}
