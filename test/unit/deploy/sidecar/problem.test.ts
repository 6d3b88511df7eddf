import { describe, expect, it } from 'vitest';
import { PROBLEMS, type ProblemCode, problemDocument } from '../../../../deploy/sidecar/problem.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { HTTP_ERRORS } from '../../../../shared/runtime/http-errors.ts';
import { toProblem } from '../../../../shared/runtime/problem-details.ts';

const CODES = Object.keys(PROBLEMS) as ProblemCode[];
const SHARED_CODES = CODES.filter((code) => code in HTTP_ERRORS) as (ProblemCode &
  keyof typeof HTTP_ERRORS)[];

describe("the sidecar's problem document", () => {
  it.each(SHARED_CODES)('for %s is, word for word, what a function tells', (code) => {
    const told = toProblem(new ServiceError(code, 'Said so.'), 'request-1').body;
    expect(problemDocument({ code, detail: 'Said so.' }, 'request-1')).toBe(JSON.stringify(told));
  });

  it.each(CODES)('for %s has a type and a title of its own', (code) => {
    const problem = JSON.parse(problemDocument({ code, detail: 'Said so.' }, 'request-1'));
    expect(problem).toEqual({
      type: `urn:tron-payment-service:problem:${code}`,
      title: expect.stringMatching(/^[A-Z]/),
      status: PROBLEMS[code].status,
      detail: 'Said so.',
      instance: 'request-1',
      code,
    });
  });

  it('has no title twice', () => {
    const titles = CODES.map((code) => PROBLEMS[code].title);
    expect(new Set(titles).size).toBe(titles.length);
  });
});
