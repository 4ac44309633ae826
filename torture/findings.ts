import type { RowBag, Rows } from './shop.ts';

/** What a check found. The first three are about rows; refused: a run that should have gone through was; untidy: something was left behind. */
export type FindingKind = 'lost' | 'doubled' | 'altered' | 'refused' | 'untidy';

export interface Finding {
  readonly kind: FindingKind;
  /** Which check it was, constant. */
  readonly check: string;
  readonly detail: string;
}

export function finding(kind: FindingKind, check: string, detail: unknown): Finding {
  return { kind, check, detail: typeof detail === 'string' ? detail : JSON.stringify(detail) };
}

/** Compares rows with what they should be, each as often as it should be there. */
export function compareRows(check: string, expected: Rows, actual: Pick<RowBag, 'rows'>): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [key, lines] of expected) {
    const found = actual.rows.get(key) ?? [];
    if (found.length < lines.length) findings.push(finding('lost', check, key));
    else if (found.length > lines.length) findings.push(finding('doubled', check, key));
    else if (found.toSorted().join('\n') !== lines.toSorted().join('\n'))
      findings.push(finding('altered', check, `${key}: ${found.join()} instead of ${lines.join()}`));
  }
  for (const key of actual.rows.keys())
    if (!expected.has(key)) findings.push(finding('doubled', check, `${key} is new`));
  return findings;
}
