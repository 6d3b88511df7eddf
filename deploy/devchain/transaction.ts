import { asObject, fromBase58, fromHex, isHex, keccakHex, sha256Hex, toBase58, toHex } from './encoding.ts';
import {
  decode,
  defaultOf,
  encode,
  type FieldType,
  field,
  isDefault,
  type MessageType,
  message,
} from './protobuf.ts';
import {
  CONTRACTS,
  type ContractKind,
  type ContractResult,
  type ContractValue,
  RAW_DATA,
  type RawData,
  TRANSACTION,
} from './tron-messages.ts';

/** A transaction with its identity, as it lies in the pool and in blocks. */
export type Transaction = {
  /** SHA-256 of the re-serialised raw data, hex: whatever `txID` the sender wrote is ignored. */
  readonly txId: string;
  readonly raw: RawData;
  readonly rawHex: string;
  /** Hex, 65 bytes each. */
  readonly signatures: readonly string[];
  /** Length of the serialised transaction without its result: what bandwidth is charged for. */
  readonly sizeBytes: number;
};

/** What the transaction asks for, taken apart. */
export type ContractCall = {
  [K in ContractKind]: { readonly kind: K; readonly value: ContractValue<K> };
}[ContractKind];

const TYPE_URL_PREFIX = 'type.googleapis.com/protocol.';

/** Builds the transaction of a raw message; encodes it anew, as java-tron does before hashing. */
export function makeTransaction(
  raw: Readonly<Record<string, unknown>>,
  signatures: readonly string[],
): Transaction {
  const rawBytes = encode(RAW_DATA, raw);
  // An empty `raw_data` is left off the wire by a sender, so it counts nothing.
  const body = rawBytes.length === 0 ? { signature: signatures } : { raw_data: raw, signature: signatures };
  return {
    txId: sha256Hex(rawBytes),
    raw: decode(RAW_DATA, rawBytes),
    rawHex: toHex(rawBytes),
    signatures,
    sizeBytes: encode(TRANSACTION, body).length,
  };
}

/** A transaction from its wire bytes. @throws ProtobufError */
export function transactionFromBytes(bytes: Uint8Array): Transaction {
  const decoded = decode(TRANSACTION, bytes);
  return makeTransaction(decoded.raw_data ?? {}, decoded.signature);
}

/** Wire bytes of a transaction, without result. */
export function transactionToHex(transaction: Transaction): string {
  return toHex(encode(TRANSACTION, { raw_data: transaction.raw, signature: transaction.signatures }));
}

/**
 * A transaction from the JSON that tronweb sends. Only `raw_data` and `signature` count.
 * @returns undefined when anything in it cannot be read (java-tron then fails with a NullPointerException).
 */
export function transactionFromJson(body: unknown): Transaction | undefined {
  const json = asObject(body);
  const rawJson = asObject(json?.raw_data);
  if (json === undefined || rawJson === undefined) return undefined;
  const visible = json.visible === true;
  try {
    const contracts = Array.isArray(rawJson.contract) ? rawJson.contract : [];
    const raw = {
      ...messageFromJson(RAW_DATA, { ...rawJson, contract: [] }, false),
      contract: contracts.map((contract) => packContract(contract, visible)),
    };
    const signatures = Array.isArray(json.signature) ? json.signature : [];
    return makeTransaction(
      raw,
      signatures.map((signature) => {
        if (typeof signature !== 'string' || !isHex(signature)) throw new TypeError('no signature');
        return signature.toLowerCase();
      }),
    );
  } catch {
    return undefined;
  }
}

/** The JSON by which nodes show a transaction, `ret` and `visible` left to the caller. */
export function transactionToJson(
  transaction: Transaction,
  visible: boolean,
  contractRet?: ContractResult,
): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  if (contractRet !== undefined) json.ret = [{ contractRet }];
  if (transaction.signatures.length > 0) json.signature = transaction.signatures;
  json.txID = transaction.txId;
  const call = readCall(transaction);
  if (call?.kind === 'CreateSmartContract') {
    const address = contractAddressOf(transaction.txId, call.value.owner_address);
    json.contract_address = address;
  }
  json.raw_data = rawToJson(transaction.raw, visible);
  json.raw_data_hex = transaction.rawHex;
  return json;
}

/** What a transaction asks for; undefined where it is a kind that this chain does not execute. */
export function readCall(transaction: Transaction): ContractCall | undefined {
  const contract = transaction.raw.contract[0];
  if (contract === undefined) return undefined;
  const kind = contract.type;
  if (!isContractKind(kind)) return undefined;
  const value = decode(CONTRACTS[kind], fromHex(contract.parameter?.value ?? ''));
  return { kind, value } as ContractCall;
}

/** Contracts of every kind name their owner first. */
const OWNED = message('protocol.AnyContract', { owner_address: field(1, 'bytes') });

/** The account that a transaction acts for, `41…` hex; also for kinds that this chain does not execute. */
export function ownerOf(transaction: Transaction): string {
  const value = transaction.raw.contract[0]?.parameter?.value ?? '';
  return decode(OWNED, fromHex(value)).owner_address;
}

/** The address that a deployed contract gets, `41…` hex. */
export function contractAddressOf(txId: string, ownerHex: string): string {
  return `41${keccakHex(fromHex(txId + ownerHex)).slice(24)}`;
}

/** JSON of any message: fields with their default value are left out, as java-tron's JsonFormat does. */
export function messageToJson(type: MessageType, value: object, visible: boolean): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(type.fields)) {
    const given = (value as Readonly<Record<string, unknown>>)[name];
    if (spec.repeated) {
      const items = given as readonly unknown[];
      if (items.length > 0) json[name] = items.map((item) => fieldToJson(spec.type, name, item, visible));
    } else if (!isDefault(spec.type, given)) {
      json[name] = fieldToJson(spec.type, name, given, visible);
    }
  }
  return json;
}

/** The reverse of {@link messageToJson}. @throws TypeError on a value that does not fit its field. */
export function messageFromJson(type: MessageType, json: unknown, visible: boolean): Record<string, unknown> {
  const given = asObject(json);
  if (given === undefined) throw new TypeError(`${type.message} is no object`);
  const result: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(type.fields)) {
    const value = given[name];
    if (value === undefined || value === null) {
      result[name] = spec.repeated ? [] : defaultOf(spec.type);
    } else if (spec.repeated) {
      if (!Array.isArray(value)) throw new TypeError(`${name} is no list`);
      result[name] = value.map((item: unknown) => fieldFromJson(spec.type, name, item, visible));
    } else {
      result[name] = fieldFromJson(spec.type, name, value, visible);
    }
  }
  return result;
}

function rawToJson(raw: RawData, visible: boolean): Record<string, unknown> {
  const { contract, ...rest } = messageToJson(RAW_DATA, raw, visible);
  const contracts = raw.contract.map((item) => {
    const url = item.parameter?.type_url ?? '';
    const value = isContractKind(item.type)
      ? messageToJson(
          CONTRACTS[item.type],
          decode(CONTRACTS[item.type], fromHex(item.parameter?.value ?? '')),
          visible,
        )
      : (item.parameter?.value ?? '');
    return {
      parameter: { value, type_url: url },
      type: item.type,
      ...(item.Permission_id === 0 ? {} : { Permission_id: item.Permission_id }),
    };
  });
  return contract === undefined ? rest : { contract: contracts, ...rest };
}

function packContract(json: unknown, visible: boolean): Record<string, unknown> {
  const contract = asObject(json);
  const parameter = asObject(contract?.parameter);
  const kind = contract?.type;
  if (typeof kind !== 'string' || parameter === undefined) throw new TypeError('no contract');
  if (!isContractKind(kind)) throw new TypeError(`${kind} is not executed by this chain`);
  const type = CONTRACTS[kind];
  const value = encode(type, messageFromJson(type, parameter.value, visible));
  const url = parameter.type_url;
  const permissionId = contract?.Permission_id;
  return {
    type: kind,
    // java-tron packs the value anew under the type's own URL.
    parameter: { type_url: typeof url === 'string' ? url : TYPE_URL_PREFIX + kind, value: toHex(value) },
    Permission_id: typeof permissionId === 'bigint' ? Number(permissionId) : 0,
  };
}

function fieldToJson(type: FieldType, name: string, value: unknown, visible: boolean): unknown {
  if (typeof type === 'string') {
    return type === 'bytes' && visible && isAddressField(name) ? toBase58(value as string) : value;
  }
  return 'fields' in type ? messageToJson(type, value as object, visible) : value;
}

function fieldFromJson(type: FieldType, name: string, value: unknown, visible: boolean): unknown {
  if (typeof type !== 'string') {
    if ('fields' in type) return messageFromJson(type, value, visible);
    if (typeof value === 'string' && value in type.enumeration) return value;
    const byNumber = Object.keys(type.enumeration).find(
      (key) => BigInt(type.enumeration[key] ?? -1) === value,
    );
    // tronweb writes entry types in lower case; java-tron capitalises them.
    const capital = typeof value === 'string' ? value.charAt(0).toUpperCase() + value.slice(1) : '';
    if (byNumber !== undefined) return byNumber;
    if (capital in type.enumeration) return capital;
    throw new TypeError(`${name} has no value ${String(value)}`);
  }
  if (type === 'int64' || type === 'int32') {
    const number =
      typeof value === 'bigint'
        ? value
        : typeof value === 'string' && /^-?\d+$/.test(value)
          ? BigInt(value)
          : undefined;
    if (number === undefined || BigInt.asIntN(64, number) !== number)
      throw new TypeError(`${name} is no number`);
    return type === 'int64' ? number : Number(number);
  }
  if (type === 'bool') return value === true || value === 'true';
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`);
  if (type === 'string') return value;
  if (visible && isAddressField(name)) return fromBase58(value);
  if (!isHex(value)) throw new TypeError(`${name} is no hex`);
  return value.toLowerCase();
}

function isAddressField(name: string): boolean {
  return name.endsWith('_address');
}

function isContractKind(kind: string): kind is ContractKind {
  return Object.hasOwn(CONTRACTS, kind);
}
