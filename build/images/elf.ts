/** What is asked of programs and libraries: what they load at run time, and themselves without symbol tables. */

export type ElfFile = {
  /** The dynamic loader, of programs that need one. */
  readonly interpreter: string | undefined;
  /** Names of the libraries it cannot start without. */
  readonly needed: readonly string[];
  /** Where it looks for them first; `$ORIGIN` is its own folder. */
  readonly searchPaths: readonly string[];
  /** Which versions of their symbols it asks of libraries: `GLIBC_2.34` of `libc.so.6`. */
  readonly wantedVersions: readonly { readonly library: string; readonly version: string }[];
  /** Which it has itself. */
  readonly ownVersions: readonly string[];
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
const DT = {
  NULL: 0,
  NEEDED: 1,
  STRTAB: 5,
  RPATH: 15,
  RUNPATH: 29,
  VERDEF: 0x6ffffffc,
  VERNEED: 0x6ffffffe,
} as const;

/** Answers undefined for what is not a program or library of a 64-bit little-endian machine. */
export function readElf(bytes: Buffer): ElfFile | undefined {
  if (!isElf(bytes)) return undefined;
  const segments = readSegments(bytes);
  const interpreter = segments.find(({ type }) => type === PT.INTERP);
  const dynamic = readDynamic(bytes, segments);
  const texts = offsetOf(valuesOf(dynamic, DT.STRTAB)[0], segments) ?? 0;
  const textsOf = (tag: number) => valuesOf(dynamic, tag).map((value) => textAt(bytes, texts + value));
  const verneed = offsetOf(valuesOf(dynamic, DT.VERNEED)[0], segments);
  const verdef = offsetOf(valuesOf(dynamic, DT.VERDEF)[0], segments);
  return {
    interpreter: interpreter && textAt(bytes, interpreter.offset),
    needed: textsOf(DT.NEEDED),
    searchPaths: [...textsOf(DT.RPATH), ...textsOf(DT.RUNPATH)].flatMap((text) => text.split(':')),
    wantedVersions: readWantedVersions(bytes, verneed, texts),
    ownVersions: readOwnVersions(bytes, verdef, texts),
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

type DynamicEntry = { readonly tag: number; readonly value: number };

function readDynamic(bytes: Buffer, segments: readonly Segment[]): DynamicEntry[] {
  const dynamic = segments.find(({ type }) => type === PT.DYNAMIC);
  if (dynamic === undefined) return [];
  const entries: DynamicEntry[] = [];
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.fileSize; at += 16) {
    const tag = Number(bytes.readBigInt64LE(at));
    if (tag === DT.NULL) break;
    entries.push({ tag, value: Number(bytes.readBigUInt64LE(at + 8)) });
  }
  return entries;
}

function valuesOf(entries: readonly DynamicEntry[], wanted: number): number[] {
  return entries.flatMap(({ tag, value }) => (tag === wanted ? [value] : []));
}

/** Where in the file that is which is loaded to an address. */
function offsetOf(address: number | undefined, segments: readonly Segment[]): number | undefined {
  if (address === undefined) return undefined;
  const holder = segments.find(
    (segment) =>
      segment.type === PT.LOAD && address >= segment.address && address < segment.address + segment.fileSize,
  );
  return holder && holder.offset + address - holder.address;
}

/** A chain of libraries (Elf64_Verneed), each with a chain of versions (Elf64_Vernaux). */
function readWantedVersions(
  bytes: Buffer,
  start: number | undefined,
  texts: number,
): ElfFile['wantedVersions'] {
  return followChain(bytes, start, 12).flatMap((at) => {
    const library = textAt(bytes, texts + bytes.readUInt32LE(at + 4));
    const versions = followChain(bytes, at + bytes.readUInt32LE(at + 8), 12);
    return versions.map((entry) => ({
      library,
      version: textAt(bytes, texts + bytes.readUInt32LE(entry + 8)),
    }));
  });
}

/** A chain of definitions (Elf64_Verdef), each with its name first (Elf64_Verdaux). */
function readOwnVersions(bytes: Buffer, start: number | undefined, texts: number): string[] {
  return followChain(bytes, start, 16).map((at) => {
    const name = at + bytes.readUInt32LE(at + 12);
    return textAt(bytes, texts + bytes.readUInt32LE(name));
  });
}

/** Places of the entries of a chain, each of which says at `nextAt` how far it is to the next; the last says 0. */
function followChain(bytes: Buffer, start: number | undefined, nextAt: number): number[] {
  const places: number[] = [];
  for (let at = start; at !== undefined; ) {
    places.push(at);
    const distance = bytes.readUInt32LE(at + nextAt);
    at = distance === 0 ? undefined : at + distance;
  }
  return places;
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}
