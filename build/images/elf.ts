/** What is asked of programs and libraries: what they load at run time, and themselves without symbol tables. */

export type ElfFile = {
  /** The dynamic loader, of programs that need one. */
  readonly interpreter: string | undefined;
  /** Names of the libraries it cannot start without. */
  readonly needed: readonly string[];
  /** Where it looks for them first; `$ORIGIN` is its own folder. */
  readonly searchPaths: readonly string[];
};

type Segment = {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
};

const MAGIC = Buffer.from('\x7fELF', 'latin1');
const CLASS_64_LITTLE_ENDIAN = Buffer.from([2, 1]);
/** elf(5): segment types, and tags of the dynamic section. */
const PT = { LOAD: 1, DYNAMIC: 2, INTERP: 3 } as const;
const DT = { NULL: 0, NEEDED: 1, STRTAB: 5, RPATH: 15, RUNPATH: 29 } as const;

/** Answers undefined for what is not a program or library of a 64-bit little-endian machine. */
export function readElf(bytes: Buffer): ElfFile | undefined {
  if (!isElf(bytes)) return undefined;
  const segments = readSegments(bytes);
  const interpreter = segments.find(({ type }) => type === PT.INTERP);
  const dynamic = readDynamic(bytes, segments);
  return {
    interpreter: interpreter && textAt(bytes, interpreter.offset),
    needed: dynamic.filter(({ tag }) => tag === DT.NEEDED).map(({ text }) => text),
    searchPaths: dynamic
      .filter(({ tag }) => tag === DT.RPATH || tag === DT.RUNPATH)
      .flatMap(({ text }) => text.split(':')),
  };
}

/**
 * Keeps what is loaded at run time, byte for byte, and cuts off what follows it: symbol tables and debugger's data.
 * It does what `strip` does, but gives the same bytes whatever version of it a machine has.
 */
export function stripSymbols(bytes: Buffer): Buffer {
  if (!isElf(bytes)) throw new Error('not a 64-bit ELF file');
  const end = Math.max(...readSegments(bytes).map(({ offset, fileSize }) => offset + fileSize));
  const stripped = Buffer.from(bytes.subarray(0, end));
  // The table of sections lay behind the end: e_shoff, e_shnum and e_shstrndx say that there is none.
  stripped.writeBigUInt64LE(0n, 0x28);
  stripped.writeUInt16LE(0, 0x3c);
  stripped.writeUInt16LE(0, 0x3e);
  return stripped;
}

function isElf(bytes: Buffer): boolean {
  return (
    bytes.length >= 64 &&
    bytes.subarray(0, 4).equals(MAGIC) &&
    bytes.subarray(4, 6).equals(CLASS_64_LITTLE_ENDIAN)
  );
}

function readSegments(bytes: Buffer): Segment[] {
  const offset = Number(bytes.readBigUInt64LE(0x20));
  const size = bytes.readUInt16LE(0x36);
  return Array.from({ length: bytes.readUInt16LE(0x38) }, (_, index) => {
    const at = offset + index * size;
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 0x08)),
      address: Number(bytes.readBigUInt64LE(at + 0x10)),
      fileSize: Number(bytes.readBigUInt64LE(at + 0x20)),
    };
  });
}

/** Those entries of the dynamic section whose value is a text. */
function readDynamic(bytes: Buffer, segments: readonly Segment[]): { tag: number; text: string }[] {
  const dynamic = segments.find(({ type }) => type === PT.DYNAMIC);
  if (dynamic === undefined) return [];
  const entries: { tag: number; value: number }[] = [];
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.fileSize; at += 16) {
    const tag = Number(bytes.readBigInt64LE(at));
    if (tag === DT.NULL) break;
    entries.push({ tag, value: Number(bytes.readBigUInt64LE(at + 8)) });
  }
  const tableAddress = entries.find(({ tag }) => tag === DT.STRTAB)?.value ?? 0;
  const holder = segments.find(
    ({ type, address, fileSize }) =>
      type === PT.LOAD && tableAddress >= address && tableAddress < address + fileSize,
  );
  if (holder === undefined) return [];
  const table = holder.offset + tableAddress - holder.address;
  const texts: readonly number[] = [DT.NEEDED, DT.RPATH, DT.RUNPATH];
  return entries
    .filter(({ tag }) => texts.includes(tag))
    .map(({ tag, value }) => ({ tag, text: textAt(bytes, table + value) }));
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}
