/** The program's version, as `--version` prints it and the ledger keeps it. */
export const programVersion = '0.1.0';
