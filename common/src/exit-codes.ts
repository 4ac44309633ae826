/** Process exit codes; charts and podFailurePolicy rely on these values. */
export const exitCodes = {
  /** Done, also when there was nothing to do. */
  done: 0,
  /** A passing fault, worth a retry. */
  transient: 1,
  /** Settings or usage are wrong; a retry changes nothing. */
  usage: 2,
  /** Data or schema refused: rejects past the limit, guard tripped, verification failed, drift, checksum. */
  refused: 3,
  /** Another run holds the lock. */
  busy: 75,
  /** Stopped by SIGTERM at a safe point. */
  stopped: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
