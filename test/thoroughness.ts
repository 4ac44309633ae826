/**
 * How many rounds of a case are run, how far apart its points lie, or which of them are taken: `all` where the environment says FAULTS=all, else `few`, which touch
 * every kind of point.
 */
export function rounds<T>(few: T, all: T): T {
  return process.env['FAULTS'] === 'all' ? all : few;
}
