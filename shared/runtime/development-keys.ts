/**
 * What the local stack uses, known to everybody who can read this repository. Production refuses all of it.
 */

/** Text secrets that the local stack writes begin with this. */
export const DEVELOPMENT_SECRET_PREFIX = 'development-';

/** Encryption keys of the local stack and of tests, 32 bytes as lower-case hex. */
export const DEVELOPMENT_ENCRYPTION_KEYS: readonly string[] = [
  // SHA-256 of the text "development-encryption-key".
  '019df2ad14ef01fd997ef7839d745d8f08554f7a0453db8deeb1581a608438c3',
];

/** The development chain's accounts for the seed `development`, as base58 addresses. */
export const DEVELOPMENT_WALLET_ADDRESSES: readonly string[] = [
  'TLQkZtLUEPWZ1stXfq4AH4Geg7Xedyv3Tm', // wallet
  'TGboHA3v9AG1uNZVp1xrE97TqdyzxaN9M5', // alice
  'TGN83JyAhm9UKcTXageZtLmr8ZBbWqJfE2', // bob
  'TPGEsQHLUP9JqGUcaGJQgm2V2SM4jb7741', // carol
  'TNhC7nMqXonTKFsqgn2uRDeBvCNYVJHEyZ', // dave
  'THBbj2cd7FXLVSkkHNWEAh6vwdSSgH2mwR', // erin
  'TPgMAGTHFWuVFHnsA14xzj2EYhYnpjCXb9', // frank
  'TTkdzvTGsKtEG9HSStS7w7A87io7kjve3c', // grace
  'TQCMCNWdSXbZP1SCbHsqZ9SmwuStUxJDWt', // witness
];
