import { textTable } from '../../common/src/output/table.ts';

/** Begins a step of the demo, with the time since its start. */
export function say(text: string): void {
  const seconds = (performance.now() / 1000).toFixed(1).padStart(5);
  console.log(`\n${seconds} s  ${text}`);
}

/** Every statement of the demo goes through here: a false one ends it. */
export function expectThat(holds: boolean, statement: string): void {
  if (!holds) throw new Error(`this should hold, and does not: ${statement}`);
  console.log(`         ✓ ${statement}`);
}

/** Lines of a file or of a program, below a step. */
export function show(...lines: readonly string[]): void {
  for (const line of lines) console.log(`         ${line}`);
}

/** Fields of records as a table. */
export function showTable<Field extends string>(
  fields: readonly Field[],
  records: readonly Readonly<Record<Field, string | number | null>>[],
): void {
  show(...textTable([fields, ...records.map((record) => fields.map((field) => record[field] ?? ''))]));
}
