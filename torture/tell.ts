import type { Finding } from './findings.ts';

const detailMax = 600;

/** Says something as soon as it is known; the table comes at the end. */
export function tell(text: string, finding?: Finding): void {
  console.log(finding ? `${text}: ${finding.kind}: ${finding.check}: ${finding.detail.slice(0, detailMax)}` : text);
}
