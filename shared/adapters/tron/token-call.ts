/** `transfer(address,uint256)` of a token's contract: the first four bytes of its keccak hash. */
export const TRANSFER_SELECTOR = 'a9059cbb';
