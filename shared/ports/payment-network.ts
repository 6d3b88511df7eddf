import type { Amounts, SolidHead } from '../domain/breaker.ts';
import type { BlockLink, HistoryBlock, HistoryFloor } from '../domain/restore.ts';
import type { NodeTestimony, SolidBlock, Transfer } from '../domain/transfer-evidence.ts';
import type { TronAddress } from '../domain/tron-address.ts';

/**
 * The TRON network, as payments need it. Nothing here decides: answers are brought back for the domain to judge.
 *
 * All methods throw `ServiceError` `chain_unavailable` where no node gave a usable answer in time, and
 * `circuit_open` where the breaker does not let the call through (then nothing was dialled).
 */
export interface PaymentNetwork {
  /** The newest solid block of a node that shows the pinned genesis. */
  readSolidHead(): Promise<SolidHead>;

  /**
   * Reads all that signing needs, in one round: a solid reference block, the fee to allow, and whether the
   * recipient and the wallet's balances let the transfer through.
   * @param inFlight what other unfinished payments may still take from the same wallet
   * @throws ServiceError `recipient_refused`, `insufficient_funds`, `fee_above_cap`, `simulation_failed`
   */
  prepareTransfer(transfer: Transfer, inFlight: InFlight): Promise<TransferPlan>;

  /**
   * Sends the same signed bytes to every configured node. Never throws for what a node answers; an answer is
   * never an outcome.
   */
  broadcast(signedTransaction: Uint8Array, txId: string): Promise<BroadcastAnswer[]>;

  /**
   * Asks every node about one transaction in solid blocks, each after reading that node's solid head. Nodes
   * that do not show the pinned genesis and the given known solid block are left out; none is left where all of
   * them merely lag behind it.
   */
  takeTestimony(txId: string, knownHead: SolidHead | null): Promise<NodeTestimony[]>;

  /**
   * Walks one node's solid blocks from the reference block to the first block at or past `untilMs`; the node is
   * one that shows the pinned genesis and the given known solid block, and where nodes of several operators are
   * configured, a second one shows the same last block. Ends early, and then proves nothing, where no node's solid
   * chain is that long yet, where nobody confirms its end, or out of time; a later walk goes on from there.
   */
  walkSolidBlocks(fromNumber: number, untilMs: number, knownHead: SolidHead | null): Promise<SolidBlock[]>;

  /**
   * Reads one node's solid blocks from the given one downwards, each by the id that the one above it names as its
   * parent, for what the account has sent. The node is one that shows the pinned genesis. Ends at the floor, or out of
   * time: a later call goes on from there.
   */
  readHistory(account: Account, from: BlockLink, floor: HistoryFloor): Promise<HistoryBlock[]>;

  /**
   * Asks every node what an account holds in solid blocks, each after reading that node's solid head: what it
   * answers is at least as new as that. Nodes are left out as `takeTestimony` leaves them out.
   */
  readHoldings(account: Account, knownHead: SolidHead | null): Promise<Holdings[]>;
}

export interface Account {
  readonly address: TronAddress;
  /** The USDT contract. */
  readonly contract: TronAddress;
}

/** What one node says that an account holds. */
export interface Holdings {
  readonly node: string;
  readonly solidHead: SolidHead;
  /** TRX is what is free to be sent: nothing staked. */
  readonly amounts: Amounts;
}

/** What `Signer.sign` builds the transaction from. */
export interface TransferPlan {
  readonly referenceBlock: SolidHead;
  /** The most TRX (in sun) that execution may burn; zero for TRX transfers. */
  readonly feeLimitMicro: bigint;
  /** The most TRX (in sun) that the transfer can burn, whatever changes before it is included. */
  readonly feeMaxMicro: bigint;
  readonly estimate: TransferEstimate;
}

/** What a transfer will take as things stand. */
export interface TransferEstimate {
  readonly energy: number;
  readonly bandwidth: number;
  /** The TRX (in sun) that it will burn. */
  readonly feeMicro: bigint;
  /** Whether it creates its recipient's account. */
  readonly activates: boolean;
}

/** What is under way beside a payment. */
export interface InFlight {
  /** Of the payment's own asset. */
  readonly amountMicro: bigint;
  /** TRX that is being paid out. */
  readonly trxMicro: bigint;
  /** TRX that may be burned for fees. */
  readonly feeMicro: bigint;
}

export const NOTHING_IN_FLIGHT: InFlight = { amountMicro: 0n, trxMicro: 0n, feeMicro: 0n };

export interface BroadcastAnswer {
  /** The node's host, safe to show. */
  readonly node: string;
  /**
   * accepted: the node took it (no promise of inclusion) · duplicate: it has it already, or had ·
   * refused: the node will not pass it on, with its code · unclear: no answer, busy, or nonsense.
   */
  readonly kind: 'accepted' | 'duplicate' | 'refused' | 'unclear';
  readonly code: string;
}

/** Builds and signs transactions with the wallet's key. Pure computing: it dials nobody. */
export interface Signer {
  /** The wallet that pays. */
  readonly wallet: Transfer['sender'];
  /**
   * @param timestampMs unique per attempt: two equal transfers on one block with one timestamp would be one
   *   transaction, and one payment would be lost
   * @throws ServiceError `internal` where the bytes that came out are not exactly the transfer asked for
   */
  sign(
    transfer: Transfer,
    plan: Pick<TransferPlan, 'referenceBlock' | 'feeLimitMicro'>,
    times: { readonly timestampMs: number; readonly expirationMs: number },
  ): Promise<SignedTransaction>;
}

export interface SignedTransaction {
  readonly txId: string;
  /** The serialised protobuf `Transaction`. */
  readonly bytes: Uint8Array;
}
