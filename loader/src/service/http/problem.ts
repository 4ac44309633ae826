import type { AppError } from '@tableset/common/errors.ts';

/** An RFC 9457 problem document. `type` is the code, which docs/errors.md lists. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What exactly is wrong; never a secret. */
  readonly detail: string;
  /** The documented code. */
  readonly code: string;
  /** What to do about it. */
  readonly remedy: string;
  /** Of the request, which logs have as well. */
  readonly instance?: string;
  /** Of a body, query or path that does not fit: `[{path, message}]`. */
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

export const problemContentType = 'application/problem+json';

/** Status of an error that no route has a better one for: by its code, else by its exit code. */
export function statusOf(error: Pick<AppError, 'code' | 'exit'>): number {
  const known = statusByCode[error.code];
  if (known !== undefined) return known;
  // Whatever is wrong with a database, whoever asks cannot mend it by asking otherwise.
  if (error.code.startsWith('DATABASE_')) return 503;
  if (error.exit === 1 || error.exit === 75 || error.exit === 143) return 503;
  return error.exit === 3 ? 409 : 400;
}

const statusByCode: Readonly<Record<string, number>> = {
  SERVICE_UNAUTHENTICATED: 401,
  SERVICE_FORBIDDEN: 403,
  SERVICE_NOT_FOUND: 404,
  SERVICE_REQUEST_INVALID: 400,
  SERVICE_REQUEST_TOO_LARGE: 413,
  SERVICE_MEDIA_TYPE: 415,
  SERVICE_CONFLICT: 409,
  SERVICE_PRECONDITION_FAILED: 412,
  SERVICE_PRECONDITION_REQUIRED: 428,
  SERVICE_ENCRYPTION_OFF: 409,
  SERVICE_HOST_REFUSED: 400,
  SERVICE_IDEMPOTENCY_REUSED: 422,
  SERVICE_QUEUE_FULL: 429,
  SERVICE_RATE_LIMITED: 429,
  SERVICE_SHUTTING_DOWN: 503,
  SERVICE_API_OFF: 503,
  INTERNAL: 500,
};

export function problemOf(error: AppError, status: number, instance: string): Problem {
  const { errors } = error.details;
  return {
    type: `urn:tableset:error:${error.code}`,
    title: titles[status] ?? 'Error',
    status,
    detail: error.message,
    code: error.code,
    remedy: error.hint,
    instance,
    // Only our own checks put a list there, in this shape.
    ...(Array.isArray(errors) ? { errors: errors as Problem['errors'] & object } : {}),
  };
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  412: 'Changed meanwhile',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Key used before',
  428: 'If-Match is missing',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Not available now',
};
