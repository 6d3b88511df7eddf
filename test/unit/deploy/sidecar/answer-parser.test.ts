import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerParser } from '../../../../deploy/sidecar/answer-parser.ts';

const parse = (...pieces: (string | Buffer)[]) => {
  const parser = new AnswerParser();
  let state: ReturnType<AnswerParser['push']> = 'more';
  for (const piece of pieces) state = parser.push(Buffer.from(piece));
  return state;
};

/** An answer with a body of these chunks, as Go writes it either way. */
function encode(chunks: readonly Uint8Array[], chunked: boolean): Buffer {
  if (!chunked) {
    const body = Buffer.concat(chunks);
    return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
  }
  const parts = chunks
    .filter((chunk) => chunk.length > 0)
    .flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]);
  return Buffer.concat([
    Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
    ...parts,
    Buffer.from('0\r\n\r\n'),
  ]);
}

describe('the parser of answers', () => {
  it('reads the same body however the network cuts it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }),
        fc.boolean(),
        fc.array(fc.nat(400), { maxLength: 6 }),
        (chunks, chunked, cuts) => {
          const bytes = encode(chunks, chunked);
          const bounds = [0, ...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length];
          const parser = new AnswerParser();
          const states = bounds.slice(1).flatMap((end, index) => {
            const piece = bytes.subarray(bounds[index], end);
            return piece.length === 0 ? [] : [parser.push(piece)];
          });
          expect(states.slice(0, -1).every((state) => state === 'more')).toBe(true);
          expect(states.at(-1)).toEqual({
            answer: { status: 200, body: Buffer.concat(chunks) },
            closes: false,
          });
        },
      ),
    );
  });

  it('notices that the peer closes', () => {
    expect(parse('HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')).toEqual({
      answer: { status: 502, body: Buffer.alloc(0) },
      closes: true,
    });
  });

  it.each([
    ['another protocol', 'HTTP/2 200\r\ncontent-length: 0\r\n\r\n'],
    ['neither length nor chunks', 'HTTP/1.1 200 OK\r\n\r\nbody'],
    ['both', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['bytes after the end', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab'],
    ['a chunk size that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n'],
    ['a chunk without its end', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n'],
    ['bytes after the last chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx'],
    ['an endless head', `HTTP/1.1 200 OK\r\n${'a'.repeat(20_000)}`],
    ['more than RIE ever sends', Buffer.alloc(9 * 1024 * 1024)],
  ])('believes nothing of an answer with %s', (_name, bytes) => {
    expect(parse(bytes)).toBe('broken');
  });
});
