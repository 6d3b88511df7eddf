import type { RieAnswer } from './response.ts';

/** Above RIE's own limit for an answer, so that what RIE lets through is never cut here. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const HEAD_BYTES_MAX = 16 * 1024;
const HEAD_END = '\r\n\r\n';
const LINE_END = '\r\n';
/** Eight hexadecimal digits and the line's end. */
const CHUNK_LINE_BYTES_MAX = 10;

export interface ParsedAnswer {
  readonly answer: RieAnswer;
  /** The peer will close the connection. */
  readonly closes: boolean;
}

interface Head {
  readonly status: number;
  /** Of the body, in bytes; undefined when it comes in chunks. */
  readonly length: number | undefined;
  readonly closes: boolean;
}

/**
 * Reads one HTTP/1.1 answer as Go's server writes it: with a length, or in chunks once it passes two kilobytes.
 * Anything else, bytes after the end included, is `broken`: an answer is believed whole or not at all.
 */
export class AnswerParser {
  #head: Head | undefined;
  readonly #chunks: Buffer[] = [];
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Pieces are joined only once this many bytes wait, so that a long answer is not copied again and again. */
  #neededBytes = 1;
  #receivedBytes = 0;

  push(bytes: Buffer): ParsedAnswer | 'more' | 'broken' {
    this.#receivedBytes += bytes.length;
    if (this.#receivedBytes > ANSWER_BYTES_MAX) return 'broken';
    this.#pieces.push(bytes);
    this.#pieceBytes += bytes.length;
    if (this.#pieceBytes < this.#neededBytes) return 'more';
    const rest = this.#pieces.length === 1 ? bytes : Buffer.concat(this.#pieces);
    return this.#head === undefined ? this.#readHead(rest) : this.#readBody(rest, this.#head);
  }

  #readHead(rest: Buffer): ParsedAnswer | 'more' | 'broken' {
    const end = rest.indexOf(HEAD_END);
    if (end === -1) return rest.length > HEAD_BYTES_MAX ? 'broken' : this.#wait(rest, rest.length + 1);
    const head = parseHead(rest.toString('latin1', 0, end));
    if (head === undefined) return 'broken';
    this.#head = head;
    return this.#readBody(rest.subarray(end + HEAD_END.length), head);
  }

  #readBody(rest: Buffer, head: Head): ParsedAnswer | 'more' | 'broken' {
    if (head.length === undefined) return this.#readChunks(rest, head);
    if (rest.length < head.length) return this.#wait(rest, head.length);
    return rest.length === head.length ? finish(head, rest) : 'broken';
  }

  #readChunks(start: Buffer, head: Head): ParsedAnswer | 'more' | 'broken' {
    let rest = start;
    for (;;) {
      const lineEnd = rest.indexOf(LINE_END);
      if (lineEnd === -1) {
        return rest.length > CHUNK_LINE_BYTES_MAX ? 'broken' : this.#wait(rest, rest.length + 1);
      }
      const line = rest.toString('latin1', 0, lineEnd);
      if (!/^[0-9a-f]{1,8}$/i.test(line)) return 'broken';
      const chunkStart = lineEnd + LINE_END.length;
      const chunkEnd = chunkStart + Number.parseInt(line, 16);
      const nextStart = chunkEnd + LINE_END.length;
      if (rest.length < nextStart) return this.#wait(rest, nextStart);
      if (rest.toString('latin1', chunkEnd, nextStart) !== LINE_END) return 'broken';
      const chunk = rest.subarray(chunkStart, chunkEnd);
      rest = rest.subarray(nextStart);
      if (chunk.length > 0) this.#chunks.push(chunk);
      else return rest.length === 0 ? finish(head, Buffer.concat(this.#chunks)) : 'broken';
    }
  }

  #wait(rest: Buffer, neededBytes: number): 'more' {
    this.#pieces = [rest];
    this.#pieceBytes = rest.length;
    this.#neededBytes = neededBytes;
    return 'more';
  }
}

function finish({ status, closes }: Head, body: Buffer): ParsedAnswer {
  return { answer: { status, body }, closes };
}

/** Exactly one of length and chunks, or it is not the peer that we know. */
function parseHead(text: string): Head | undefined {
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1];
  const length = /\r\ncontent-length: (\d{1,9})(?:\r\n|$)/i.exec(text)?.[1];
  const chunked = /\r\ntransfer-encoding: chunked(?:\r\n|$)/i.test(text);
  if (status === undefined || chunked === (length !== undefined)) return undefined;
  return {
    status: Number(status),
    length: length === undefined ? undefined : Number(length),
    closes: /\r\nconnection: close(?:\r\n|$)/i.test(text),
  };
}
