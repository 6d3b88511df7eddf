import { secp256k1 } from '@noble/curves/secp256k1.js';
import { fromHex, keccakHex, toHex } from './encoding.ts';

/** A signature is r ‖ s ‖ v, 65 bytes, over a 32-byte hash; v is 0/1 or 27/28. */
const SIGNATURE_BYTES = 65;

/** `41…` hex address of a private key in hex. */
export function addressOfPrivateKey(privateKey: string): string {
  return addressOfPublicKey(secp256k1.getPublicKey(fromHex(privateKey), false));
}

/** Signs a hash; the recovery id stands last, as 0 or 1. */
export function signHash(hashHex: string, privateKey: string): string {
  const signature = secp256k1.sign(fromHex(hashHex), fromHex(privateKey), {
    prehash: false,
    format: 'recovered',
  });
  return toHex(signature.subarray(1)) + toHex(signature.subarray(0, 1));
}

/** The address whose key made this signature. @throws Error with java-tron's words when it can be none. */
export function recoverSigner(hashHex: string, signatureHex: string): string {
  const signature = fromHex(signatureHex);
  if (signature.length < SIGNATURE_BYTES) throw new Error(`Signature size is ${signature.length}`);
  const v = signature[SIGNATURE_BYTES - 1] ?? 0;
  const recovery = v >= 27 ? v - 27 : v;
  if (recovery > 3) throw new Error(`Header byte out of range: ${v}`);
  const recovered = Uint8Array.of(recovery, ...signature.subarray(0, SIGNATURE_BYTES - 1));
  let publicKey: Uint8Array;
  try {
    publicKey = secp256k1.recoverPublicKey(recovered, fromHex(hashHex), { prehash: false });
  } catch {
    throw new Error('Could not recover public key from signature');
  }
  return addressOfPublicKey(secp256k1.Point.fromBytes(publicKey).toBytes(false));
}

function addressOfPublicKey(uncompressed: Uint8Array): string {
  return `41${keccakHex(uncompressed.subarray(1)).slice(24)}`;
}
