import type { Audit } from './contracts.ts';

/** The audit trail in `tableset_service_audit`. */
export const audit: Audit = {
  async record(connection, { actor, action, subject, details }) {
    await connection.run(
      'INSERT INTO tableset_service_audit (at, actor, action, subject, details) VALUES (UTC_TIMESTAMP(6), ?, ?, ?, ?)',
      [actor.slice(0, 128), action, subject.slice(0, 255), JSON.stringify(details)],
    );
  },
};
