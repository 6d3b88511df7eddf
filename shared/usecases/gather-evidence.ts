import type { SolidHead } from '../domain/breaker.ts';
import {
  credible,
  type Evidence,
  joinEvidence,
  judgeTestimony,
  type NodeTestimony,
  type Transfer,
} from '../domain/transfer-evidence.ts';
import type { Engine } from './engine.ts';

/** What nodes show of one transaction: what each said, what that comes to, and what it comes to altogether. */
export interface Gathered {
  readonly testimonies: readonly NodeTestimony[];
  readonly evidences: readonly Evidence[];
  readonly evidence: Evidence;
}

/**
 * Asks all nodes about one transaction.
 * @param knownHead the last solid block that was seen: nodes that do not show it are left out
 * @param nowMs the server's time, read before: no node is believed whose solid head lies in the future
 * @throws ServiceError `chain_unavailable`, `circuit_open`
 */
export async function gatherEvidence(
  { network, rules }: Pick<Engine, 'network' | 'rules'>,
  transfer: Transfer,
  txId: string,
  knownHead: SolidHead | null,
  nowMs: number,
): Promise<Gathered> {
  const told = await network.takeTestimony(txId, knownHead);
  const testimonies = credible(told, knownHead, nowMs + rules.headSkewMsMax);
  const evidences = testimonies.map((testimony) =>
    judgeTestimony(transfer, txId, testimony, rules.confirmationsRequired),
  );
  return { testimonies, evidences, evidence: joinEvidence(evidences) };
}
