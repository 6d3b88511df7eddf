import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import { forgetting, type Mutant, PROTOCOL_MUTANTS, rewriting } from '../simulate/mutants.ts';

/** A rule that is broken in one place, and the model whose search must find it. */
export interface BrokenRule {
  readonly mutant: Mutant;
  readonly model: string;
}

/** The model for each of the protocol's mutants, which the simulation has to find as well. */
const MODEL_OF: Readonly<Record<string, string>> = {
  'release or commit takes effect when it is announced': 'two-visits',
  'reservation without a nonce': 'cancel-while-reserving',
  'release before the payment is closed': 'cancel-while-reserving',
  'payment read before the breaker': 'retry',
  'refused key tried again in the same generation': 'retry',
  'taken out after a failed note, without reading again': 'cancel-while-reserving',
  'note whatever the state': 'cancel-while-reserving',
  'dropped before it is noted': 'cancel-while-reserving',
  'taken out whether it is there or not': 'cancel-while-reserving',
  'closed whichever attempt is out': 'late-expiry',
  'signed whatever the state': 'two-visits',
  'release clears the notes': 'two-visits',
};

/** Of what was added to the protocol: freed slots, the pause, batches, reviews. */
const FURTHER: readonly BrokenRule[] = [
  {
    model: 'two-closings',
    mutant: { name: 'slots charged over newer ones', ledger: forgetting('applyClosings', 'slotsVersion') },
  },
  {
    model: 'pause',
    mutant: { name: 'reserved whether paused or not', ledger: forgetting('pushReservation', 'pause') },
  },
  {
    model: 'batch',
    mutant: {
      name: 'entry of a batch dropped before its payments stand',
      ledger: (ledger) => ({
        ...ledger,
        async insertItems(payments) {
          const [first] = payments;
          if (first !== undefined) await ledger.dropTransition(first.reservationId ?? '');
          await ledger.insertItems(payments);
        },
      }),
    },
  },
  {
    model: 'batch',
    mutant: {
      name: 'batch admitted before its payments stand',
      ledger: (ledger) => {
        let insert: () => Promise<void> = async () => {};
        return {
          ...ledger,
          async insertItems(payments) {
            insert = () => ledger.insertItems(payments);
          },
          async admitBatch(guard, reservationId) {
            const isAdmitted = await ledger.admitBatch(guard, reservationId);
            await insert();
            return isAdmitted;
          },
        };
      },
    },
  },
  {
    model: 'evidence-after-the-end',
    mutant: {
      name: 'review that is not counted anew',
      ledger: (ledger, { store }) => {
        const renewed = ['generation', 'reservationId', 'closeId', 'feeReservedMicro'];
        const forgetful = rewriting(store, (filter, update) => {
          const kept = Object.entries(update.$set ?? {}).filter(([field]) => !renewed.includes(field));
          return [filter, { ...update, $set: Object.fromEntries(kept) }];
        });
        return { ...ledger, reopenForReview: documentLedger(forgetful).reopenForReview };
      },
    },
  },
];

/** The search must find every one of them. */
export const BROKEN_RULES: readonly BrokenRule[] = [
  ...PROTOCOL_MUTANTS.map((mutant) => ({ mutant, model: MODEL_OF[mutant.name] ?? 'retry' })),
  ...FURTHER,
];
