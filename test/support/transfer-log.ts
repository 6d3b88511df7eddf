import type { EventLog, Transfer } from '../../shared/domain/transfer-evidence.ts';
import { addressToHex, addressToWord } from '../../shared/domain/tron-address.ts';

/** keccak256("Transfer(address,address,uint256)") */
const TRANSFER_TOPIC = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';

/** The event that a token's contract leaves of a transfer. */
export function transferLog({ contract, sender, recipient, amountMicro }: Transfer): EventLog {
  return {
    address: addressToHex(contract).slice(2),
    topics: [TRANSFER_TOPIC, addressToWord(sender), addressToWord(recipient)],
    data: amountMicro.toString(16).padStart(64, '0'),
  };
}
