const STRINGS_OFFSET = 0x200;
const DYNAMIC_OFFSET = 0x100;

/**
 * The least of a library that a loader would look at: which others it needs, and where it looks for them. Behind what
 * is loaded lies `tail`, as symbol tables do.
 */
export function makeLibrary(
  needed: readonly string[],
  options: { readonly searchPath?: string; readonly tail?: string } = {},
): Buffer {
  const strings = Buffer.from(`\0${[...needed, options.searchPath ?? ''].join('\0')}\0`);
  const tail = Buffer.from(options.tail ?? '');
  const bytes = Buffer.concat([Buffer.alloc(STRINGS_OFFSET), strings, tail]);
  bytes.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  bytes.writeBigUInt64LE(64n, 0x20);
  bytes.writeBigUInt64LE(BigInt(STRINGS_OFFSET + strings.length), 0x28);
  bytes.writeUInt16LE(56, 0x36);
  bytes.writeUInt16LE(2, 0x38);
  bytes.writeUInt16LE(3, 0x3c);
  writeSegment(bytes, 0, { type: 1, offset: 0, size: STRINGS_OFFSET + strings.length });

  const at = (text: string): number => strings.indexOf(`\0${text}\0`) + 1;
  const entries = [
    ...needed.map((name) => [1, at(name)]),
    ...(options.searchPath === undefined ? [] : [[29, at(options.searchPath)]]),
    [5, STRINGS_OFFSET],
    [0, 0],
  ];
  writeSegment(bytes, 1, { type: 2, offset: DYNAMIC_OFFSET, size: entries.length * 16 });
  for (const [index, [tag = 0, value = 0]] of entries.entries()) {
    bytes.writeBigInt64LE(BigInt(tag), DYNAMIC_OFFSET + index * 16);
    bytes.writeBigUInt64LE(BigInt(value), DYNAMIC_OFFSET + index * 16 + 8);
  }
  return bytes;
}

function writeSegment(
  bytes: Buffer,
  index: number,
  segment: { type: number; offset: number; size: number },
): void {
  const at = 64 + index * 56;
  bytes.writeUInt32LE(segment.type, at);
  bytes.writeBigUInt64LE(BigInt(segment.offset), at + 0x08);
  bytes.writeBigUInt64LE(BigInt(segment.offset), at + 0x10);
  bytes.writeBigUInt64LE(BigInt(segment.size), at + 0x20);
}
