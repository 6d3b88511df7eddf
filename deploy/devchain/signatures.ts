import { toBase58 } from './encoding.ts';
import { recoverSigner } from './keys.ts';
import { Refusal } from './refusal.ts';
import { ownerOf, type Transaction } from './transaction.ts';
import type { World } from './world.ts';

const OWNER_PERMISSION = 0;
const DEFAULT_ACTIVE_PERMISSION = 2;
/** Every permission of this chain is the default one: a single key, the account's own. */
const KEYS = 1;
const SIGNATURES_MAX = 5;

/** Checks that the owner's key signed. @throws Refusal SIGERROR */
export function checkSignatures(world: World, transaction: Transaction): void {
  const { signatures } = transaction;
  if (signatures.length === 0) throw wrong('miss sig or contract');
  if (signatures.length > SIGNATURES_MAX) throw wrong('too many signatures');
  const owner = ownerOf(transaction);
  const permissionId = transaction.raw.contract[0]?.Permission_id ?? OWNER_PERMISSION;
  if (permissionId !== OWNER_PERMISSION && !hasPermission(world, owner, permissionId)) {
    throw wrong("permission isn't exit");
  }
  if (signatures.length > KEYS) {
    throw wrong(`Signature count is ${signatures.length} more than key counts of permission : ${KEYS}`);
  }
  for (const signature of signatures) {
    const signer = recover(transaction.txId, signature);
    if (signer !== owner) {
      throw wrong(`${signature} is signed by ${toBase58(signer)} but it is not contained of permission.`);
    }
  }
}

function hasPermission(world: World, owner: string, permissionId: number): boolean {
  return permissionId === DEFAULT_ACTIVE_PERMISSION && world.account(owner)?.permissions === true;
}

function recover(txId: string, signature: string): string {
  try {
    return recoverSigner(txId, signature);
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
}

function wrong(reason: string): Refusal {
  return new Refusal('SIGERROR', `Validate signature error: ${reason}`);
}
