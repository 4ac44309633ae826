/** Values that must never leave the process, whoever put them into a text: the last net under redaction by construction. */
const secrets = new Set<string>();

/** Registers a secret's value; texts of fewer than six characters would blank out ordinary words and are left to construction. */
export function registerSecret(value: string): void {
  if (value.length < 6) return;
  secrets.add(value);
  // The value as it stands inside a JSON string, when it has quotes or backslashes.
  secrets.add(JSON.stringify(value).slice(1, -1));
}

/** The text with every registered secret replaced. */
export function redact(text: string): string {
  let clean = text;
  for (const secret of secrets) clean = clean.replaceAll(secret, '[redacted]');
  return clean;
}
