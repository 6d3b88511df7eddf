/**
 * Recorded cases that a play may leave out, each with the reason. On the development chain every case is played;
 * these depend on what another node offers.
 */
export const NOT_COVERED: Readonly<Record<string, string>> = {
  'fn-broadcast-permission-id-2':
    'needs an account of the genesis block, which has no permissions: one that a transfer made has permission 2',
};
