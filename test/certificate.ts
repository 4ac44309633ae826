import { generateKeyPairSync, sign } from 'node:crypto';

/** PEM texts of a self-signed certificate and its key. */
export interface TestCertificate {
  readonly key: string;
  readonly certificate: string;
}

/**
 * Makes a certificate that is its own authority, good for a day around now. Only what TLS clients look at is in it (RFC 5280).
 * @param address the IPv4 address it is for
 */
export function selfSigned(now = new Date(), address = '127.0.0.1'): TestCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = sequence(oid('2a8648ce3d040302'));
  const name = sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from('test')))));
  const time = (offsetMs: number) =>
    tagged(
      0x17,
      Buffer.from(`${new Date(now.getTime() + offsetMs).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`),
    );
  const alternativeName = sequence(tagged(0x87, Buffer.from(address.split('.').map(Number))));
  const isAuthority = sequence(tagged(0x01, Buffer.from([0xff])));
  const extensions = sequence(
    sequence(oid('551d11'), tagged(0x04, alternativeName)),
    sequence(oid('551d13'), tagged(0x04, isAuthority)),
  );
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, Buffer.from([1])),
    algorithm,
    name,
    sequence(time(-43_200_000), time(43_200_000)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, extensions),
  );
  const signature = tagged(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, privateKey)]));
  const der = sequence(body, algorithm, signature);
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `-----BEGIN CERTIFICATE-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`,
  };
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function oid(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'));
}

function tagged(tag: number, content: Buffer): Buffer {
  const length = content.length;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
