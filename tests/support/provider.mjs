// A provider of identities for tests: `oidc-provider`, with people and a client that are made up. Any password is right.
//
// node provider.mjs SETTINGS.json: `{tools, client, people}`, where people have their groups. Prints its issuer when it listens.

import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

// Nobody reads more than the first line of what is printed.
console.info = console.warn;

const { tools, client, people } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const file = path.join(tools, 'node_modules/oidc-provider/lib/index.js');
const { Provider } = await import(pathToFileURL(file));

const key = (kind, options, extra) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  ...extra,
});

const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [client],
  jwks: {
    keys: [
      key('rsa', { modulusLength: 2048 }, { kid: 'rsa' }),
      key('ec', { namedCurve: 'P-256' }, { kid: 'ec', alg: 'ES256' }),
    ],
  },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  // The ID token has all claims, as those of most providers.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: people[id] ?? [] }),
  }),
});
// Its pages want a font from elsewhere; no test asks anybody on the Internet.
provider.use(async (ctx, next) => {
  await next();
  if (typeof ctx.body === 'string') ctx.body = ctx.body.replace(/@import url\([^)]*\);?/, '');
});
server.on('request', provider.callback());
console.log(`ready ${issuer}`);
// Who started it is gone when this ends.
process.stdin.on('end', () => process.exit()).resume();
