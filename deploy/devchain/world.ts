import type { StateOverlay, StateReader, StateValue } from './state.ts';

/** An account. Amounts in sun, usages in bytes and energy at the slot of their last change. */
export type Account = {
  readonly address: string;
  /** Hex of the UTF-8 name; empty for most accounts. */
  readonly nameHex: string;
  readonly kind: 'Normal' | 'AssetIssue' | 'Contract';
  readonly balance: bigint;
  readonly createdAtMs: number;
  readonly latestOperationMs: number;
  readonly freeNetUsage: bigint;
  readonly freeNetSlot: number;
  readonly netUsage: bigint;
  readonly netSlot: number;
  readonly energyUsage: bigint;
  readonly energySlot: number;
  readonly frozenForBandwidth: bigint;
  readonly frozenForEnergy: bigint;
  /** Accounts made by a transfer carry default permissions; those of the genesis and contracts do not. */
  readonly permissions: boolean;
  readonly isWitness: boolean;
};

/** What the chain knows of a deployed contract besides its code. */
export type Contract = {
  readonly address: string;
  readonly origin: string;
  readonly name: string;
  /** The `SmartContract` message as it was deployed, hex. */
  readonly messageHex: string;
  readonly consumeUserPercent: bigint;
  readonly originEnergyLimit: bigint;
  readonly codeHash: string;
};

/** Sums kept over all accounts. */
export type Total = 'burned' | 'bandwidthWeight' | 'energyWeight';

const accountKey = (address: string): string => `account/${address}`;
const contractKey = (address: string): string => `contract/${address}`;
const codeKey = (address: string): string => `code/${address}`;
const slotKey = (address: string, slot: string): string => `storage/${address}/${slot}`;
const totalKey = (total: Total): string => `total/${total}`;
export const ACCOUNT_PREFIX = 'account/';

/** Typed reading of a state. Addresses are `41…` hex. */
export class World {
  readonly #state: StateReader;

  constructor(state: StateReader) {
    this.#state = state;
  }

  account(address: string): Account | undefined {
    return this.#state.get(accountKey(address)) as Account | undefined;
  }

  contract(address: string): Contract | undefined {
    return this.#state.get(contractKey(address)) as Contract | undefined;
  }

  /** Runtime code in hex, empty where there is none. */
  code(address: string): string {
    return (this.#state.get(codeKey(address)) as string | undefined) ?? '';
  }

  /** A storage word in hex; undefined where nothing but zero was ever left. */
  storage(address: string, slot: string): string | undefined {
    return this.#state.get(slotKey(address, slot)) as string | undefined;
  }

  total(total: Total): bigint {
    return (this.#state.get(totalKey(total)) as bigint | undefined) ?? 0n;
  }
}

/** Typed reading and writing on top of an overlay. */
export class WritableWorld extends World {
  readonly overlay: StateOverlay;

  constructor(overlay: StateOverlay) {
    super(overlay);
    this.overlay = overlay;
  }

  putAccount(account: Account): void {
    this.overlay.set(accountKey(account.address), account);
  }

  deleteAccount(address: string): void {
    this.overlay.set(accountKey(address), undefined);
  }

  putContract(contract: Contract): void {
    this.overlay.set(contractKey(contract.address), contract);
  }

  putCode(address: string, codeHex: string): void {
    this.overlay.set(codeKey(address), codeHex as StateValue);
  }

  putStorage(address: string, slot: string, word: string | undefined): void {
    this.overlay.set(slotKey(address, slot), word);
  }

  addToTotal(total: Total, amount: bigint): void {
    this.overlay.set(totalKey(total), this.total(total) + amount);
  }

  /** Changes some fields of an account that exists. */
  update(address: string, change: (account: Account) => Partial<Account>): Account {
    const account = this.account(address);
    if (account === undefined) throw new Error(`no account ${address}`);
    const updated = { ...account, ...change(account) };
    this.putAccount(updated);
    return updated;
  }

  /** Takes fees out of circulation. */
  burn(address: string, sun: bigint): void {
    this.update(address, ({ balance }) => ({ balance: balance - sun }));
    this.addToTotal('burned', sun);
  }
}

/** A fresh account. */
export function newAccount(address: string, fields: Partial<Account> = {}): Account {
  return {
    address,
    nameHex: '',
    kind: 'Normal',
    balance: 0n,
    createdAtMs: 0,
    latestOperationMs: 0,
    freeNetUsage: 0n,
    freeNetSlot: 0,
    netUsage: 0n,
    netSlot: 0,
    energyUsage: 0n,
    energySlot: 0,
    frozenForBandwidth: 0n,
    frozenForEnergy: 0n,
    permissions: false,
    isWitness: false,
    ...fields,
  };
}
