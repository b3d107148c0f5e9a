// A strict, certified OpenID Provider for oauthbff's contract tests: npm oidc-provider behind
// test hooks. Everything under /_test/ is ours, everything else is the library's.
//
// The configuration comes from the environment and can be replaced while running (POST
// /_test/configure): the provider is then built anew, on the same issuer, knowing nobody.
// No request to /_test/ is logged, and no fault applies to it.

import { createHmac } from "node:crypto";
import * as crypto from "node:crypto";
import * as http from "node:http";

import { Provider, errors, interactionPolicy } from "oidc-provider";

const DEFAULTS = {
  CLIENT_ID: "bff",
  CLIENT_SECRET: "bff-secret-bff-secret-bff-secret-bff",
  CLIENT_AUTH: "client_secret_basic",
  CLIENT_JWKS: "", // our public keys, for private_key_jwt
  REDIRECT_URI: "http://localhost:8000/bff/callback/", // several: separated by spaces
  POST_LOGOUT_URI: "http://localhost:8000/bff/logged-out/",
  BACKCHANNEL_LOGOUT_URI: "", // empty: the client is not told of logouts
  SCOPES: "openid offline_access profile email groups photos.read photos.write",
  ACCESS_TTL: "60", // seconds, as every TTL
  REFRESH_TTL: "3600",
  ID_TOKEN_TTL: "300",
  CODE_TTL: "60",
  SIGNING_ALG: "RS256", // RS256, PS256, ES256, EdDSA
  ROTATE: "1", // every refresh rotates; a spent refresh token revokes its whole family
  ALWAYS_REFRESH: "1", // a refresh token although offline_access was not asked for
  EXPIRES_WITH_SESSION: "0", // tokens die with the session at the provider
  GRANT_PER_LOGIN: "0", // default, as Keycloak: all logins of one session are one grant, and a
  // revoked refresh token takes the tokens of the session's later logins with it
  CLAIMS_IN_ID_TOKEN: "0", // default: profile and e-mail at UserInfo only
  PKCE_REQUIRED: "1",
  PAR: "0", // "required": a request that was not pushed is refused
  RESOURCE_INDICATORS: "0",
  JWT_ACCESS: "0", // access tokens for a resource are JWTs (RFC 9068); switches RESOURCE_INDICATORS on
  DEFAULT_RESOURCE: "", // the resource when none was asked for; UserInfo then refuses the token
  LOGOUT: "1", // the three end points a provider may lack
  REVOCATION: "1",
  INTROSPECTION: "1",
  AUTO_LOGIN: "", // a sub: whoever comes is this person, no form. See /_test/login-as/
};

const host = process.env.HOST || "127.0.0.1";
const fromEnvironment = Object.fromEntries(
  Object.keys(DEFAULTS)
    .filter((name) => process.env[name] !== undefined)
    .map((name) => [name, process.env[name]]),
);

// ------------------------------------------------------------------------------- people

function claimsOf(sub) {
  return {
    sub,
    name: sub.charAt(0).toUpperCase() + sub.slice(1),
    email: `${sub}@example.com`,
    email_verified: true,
    groups: ["staff", "photographers"],
    picture: `https://img.example.com/${encodeURIComponent(sub)}.png`,
  };
}

// -------------------------------------------------------------------------------- store

/** What the provider remembers. Unlike the library's own store it forgets nothing early. */
class Store {
  records = new Map(); // "Model:id" -> { payload, expires }
  spent = new Set(); // refresh tokens that were rotated away, for ever

  adapter = (model) => ({
    upsert: async (id, payload, expiresIn) => {
      const expires = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
      this.records.set(`${model}:${id}`, { payload, expires });
    },
    find: async (id) => this.get(model, id),
    findByUid: async (uid) => this.first(model, (payload) => payload.uid === uid),
    findByUserCode: async () => undefined,
    destroy: async (id) => void this.records.delete(`${model}:${id}`),
    consume: async (id) => {
      if (model === "RefreshToken") this.spent.add(id);
      this.get(model, id).consumed = Math.floor(Date.now() / 1000);
    },
    revokeByGrantId: async (grantId) => {
      for (const [key, { payload }] of this.records)
        if (key.startsWith(`${model}:`) && payload.grantId === grantId) this.records.delete(key);
    },
  });

  get(model, id) {
    const record = this.records.get(`${model}:${id}`);
    return record && record.expires > Date.now() ? record.payload : undefined;
  }

  all(model) {
    return [...this.records]
      .filter(([key, { expires }]) => key.startsWith(`${model}:`) && expires > Date.now())
      .map(([, { payload }]) => payload);
  }

  first(model, wanted) {
    return this.all(model).find(wanted);
  }

  live(model) {
    return this.all(model).filter((payload) => !payload.consumed);
  }
}

// ----------------------------------------------------------------------------- provider

function newKeys() {
  const pairs = [
    ["rsa", { modulusLength: 2048 }],
    ["ec", { namedCurve: "P-256" }],
    ["ed25519", {}],
  ];
  return pairs.map(([type, options]) => ({
    ...crypto.generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
    use: "sig",
    kid: `${type}-${crypto.randomBytes(4).toString("hex")}`,
  }));
}

/** The library's rules, and ours: a session of somebody else than AUTO_LOGIN does not do. */
function policy(config) {
  const rules = interactionPolicy.base();
  const { Check } = interactionPolicy;
  rules.get("login").checks.add(
    new Check("somebody_else", "somebody else signs in", (ctx) => {
      const { accountId } = ctx.oidc.session;
      return config.AUTO_LOGIN && accountId && accountId !== config.AUTO_LOGIN
        ? Check.REQUEST_PROMPT
        : Check.NO_NEED_TO_PROMPT;
    }),
  );
  return rules;
}

function build(issuer, config, keys, store, messages) {
  const on = (name) => !["", "0", "false", "no", "off"].includes(String(config[name]).toLowerCase());
  const seconds = (name) => Number(config[name]);
  const scopes = config.SCOPES.split(" ");
  const resources = on("RESOURCE_INDICATORS") || on("JWT_ACCESS");
  const auto = { enabled: true };

  const provider = new Provider(issuer, {
    adapter: store.adapter,
    clients: [
      {
        client_id: config.CLIENT_ID,
        client_secret: config.CLIENT_SECRET,
        token_endpoint_auth_method: config.CLIENT_AUTH,
        jwks: config.CLIENT_JWKS ? JSON.parse(config.CLIENT_JWKS) : undefined,
        redirect_uris: config.REDIRECT_URI.split(" "),
        post_logout_redirect_uris: on("LOGOUT") ? config.POST_LOGOUT_URI.split(" ") : undefined,
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        id_token_signed_response_alg: config.SIGNING_ALG,
        ...(config.BACKCHANNEL_LOGOUT_URI && {
          backchannel_logout_uri: config.BACKCHANNEL_LOGOUT_URI,
          backchannel_logout_session_required: true,
        }),
      },
    ],
    claims: {
      openid: ["sub"],
      profile: ["name", "picture"],
      email: ["email", "email_verified"],
      groups: ["groups"],
      sid: null,
      auth_time: null,
      iss: null,
      acr: null,
    },
    clockTolerance: 0,
    conformIdTokenClaims: !on("CLAIMS_IN_ID_TOKEN"),
    cookies: { keys: [createHmac("sha256", issuer).update("cookies").digest("hex")] },
    enabledJWA: {
      idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "Ed25519", "EdDSA", "HS256"],
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: auto,
      introspection: { enabled: on("INTROSPECTION") },
      revocation: { enabled: on("REVOCATION") },
      rpInitiatedLogout: {
        enabled: on("LOGOUT"),
        logoutSource: (ctx, form) => {
          // The library's page asks; ours has the button inside the form.
          ctx.body = page(
            "Sign out?",
            form.replace("</form>", '<button autofocus name="logout" value="yes">Sign out</button></form>'),
          );
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = page("Signed out", "");
        },
      },
      pushedAuthorizationRequests: {
        enabled: on("PAR"),
        requirePushedAuthorizationRequests: config.PAR === "required",
      },
      resourceIndicators: {
        enabled: resources,
        defaultResource: (_ctx, _client, oneOf) => oneOf?.[0] ?? (config.DEFAULT_RESOURCE || undefined),
        getResourceServerInfo: (_ctx, resource) => {
          if (resource.includes("refused")) throw new errors.InvalidTarget();
          return {
            audience: resource,
            scope: scopes.filter((scope) => scope.includes(".")).join(" "),
            accessTokenFormat: on("JWT_ACCESS") ? "jwt" : "opaque",
            accessTokenTTL: seconds("ACCESS_TTL"),
          };
        },
        useGrantedResource: () => true,
      },
    },
    // The library cuts every connection to a loopback address; ours is nothing else.
    fetch: async (url, { dispatcher: _guard, ...options }) => {
      const message = { url: String(url), at: Date.now(), status: null };
      messages.push(message);
      const answer = await fetch(url, options);
      message.status = answer.status;
      return answer;
    },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
    interactions: { policy: policy(config), url: (_ctx, { uid }) => `/_login/${uid}` },
    issueRefreshToken: (_ctx, client, source) =>
      client.grantTypeAllowed("refresh_token") &&
      (on("ALWAYS_REFRESH") || source.scopes.has("offline_access")),
    expiresWithSession: () => on("EXPIRES_WITH_SESSION"),
    jwks: { keys },
    // Nobody is asked for consent.
    loadExistingGrant: async (ctx) => {
      const { client, session, provider: op } = ctx.oidc;
      const known = !on("GRANT_PER_LOGIN") && session.grantIdFor(client.clientId);
      const grant =
        (known && (await op.Grant.find(known))) ||
        new op.Grant({ accountId: session.accountId, clientId: client.clientId });
      grant.addOIDCScope(scopes.join(" "));
      for (const resource of [ctx.oidc.params.resource ?? (config.DEFAULT_RESOURCE || [])].flat())
        grant.addResourceScope(resource, scopes.join(" "));
      await grant.save();
      return grant;
    },
    pkce: { required: () => on("PKCE_REQUIRED") },
    renderError: (ctx, out) => {
      ctx.type = "html";
      ctx.body = page("Error", `<pre>${escape(JSON.stringify(out, null, 1))}</pre>`);
    },
    rotateRefreshToken: on("ROTATE"),
    scopes,
    ttl: {
      AccessToken: seconds("ACCESS_TTL"),
      AuthorizationCode: seconds("CODE_TTL"),
      Grant: 86400,
      IdToken: seconds("ID_TOKEN_TTL"),
      Interaction: 600,
      RefreshToken: seconds("REFRESH_TTL"),
      Session: 86400,
    },
  });
  provider.on("server_error", (_ctx, error) => console.error(error));
  return provider;
}

// -------------------------------------------------------------------------------- pages

const escape = (text) =>
  String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

const page = (title, body) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>` +
  `<link rel="icon" href="data:,"><h1>${title}</h1>${body}</html>`;

const loginForm = (uid, hint) =>
  page(
    "Sign in",
    `<form method="post" action="/_login/${escape(uid)}">` +
      `<label>User <input name="login" value="${escape(hint)}" autofocus required></label> ` +
      `<label>Password <input name="password" type="password"></label> ` +
      "<button>Sign in</button></form>",
  );

// -------------------------------------------------------------------------------- world

/** The provider of the moment and everything the tests may ask about it. */
const world = {
  issuer: process.env.ISSUER || "",
  config: {},
  keys: [],
  store: new Store(),
  provider: null,
  answer: null, // the provider's request listener
  log: [],
  faults: [],
  messages: [], // logout tokens sent, with the status they got
  turn: Promise.resolve(), // the end of the token request before this one

  configure(changes) {
    const unknown = Object.keys(changes).filter((name) => !(name in DEFAULTS));
    if (unknown.length) throw new Error(`unknown configuration: ${unknown.join(", ")}`);
    this.config = { ...DEFAULTS, ...fromEnvironment, ...changes };
    for (const [name, value] of Object.entries(this.config)) this.config[name] = String(value);
    this.store = new Store();
    this.log = [];
    this.faults = [];
    this.messages = [];
    this.refusal = null;
    this.rebuild();
  },

  rebuild() {
    this.provider = build(this.issuer, this.config, this.keys, this.store, this.messages);
    this.provider.use(tamper);
    this.answer = this.provider.callback();
  },

  rotateKeys() {
    this.keys = newKeys();
    this.rebuild();
  },
};

// ------------------------------------------------------------------------------- faults

// {path, grant_type?, skip?, times?=1 (0: for ever), delayMs?, status?, body?, headers?,
//  drop?: "before" | "after", patch?: {member: value, or null to remove it}}
function takeFault(path, grantType) {
  const fault = world.faults.find(
    (each) => each.path === path && (!each.grant_type || each.grant_type === grantType),
  );
  if (!fault) return undefined;
  if (fault.skip > 0) {
    fault.skip -= 1;
    return undefined;
  }
  if (fault.times === 1) world.faults.splice(world.faults.indexOf(fault), 1);
  else if (fault.times > 1) fault.times -= 1;
  return fault;
}

/** Koa middleware around the whole provider: one token request at a time, then the lies. */
async function tamper(ctx, next) {
  const { entry, fault } = ctx.req;
  if (ctx.path === "/token") {
    // The library looks a refresh token up and marks it spent in two steps. Without a queue
    // two requests with the same token could both be the first.
    const before = world.turn;
    let done;
    world.turn = new Promise((resolve) => (done = resolve));
    try {
      await before;
      entry.reused = world.store.spent.has(entry.params.refresh_token);
      await next();
    } finally {
      done();
    }
  } else {
    await next();
  }
  if (ctx.body?.error) entry.error = ctx.body.error;
  if (fault?.patch && ctx.body && typeof ctx.body === "object") {
    ctx.body = { ...ctx.body, ...fault.patch };
    for (const [name, value] of Object.entries(fault.patch)) if (value === null) delete ctx.body[name];
  }
  if (fault?.drop === "after") {
    ctx.respond = false;
    entry.status = "dropped";
    ctx.req.socket.destroy();
  }
}

// ------------------------------------------------------------------------------ the door

async function bodyOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function serve(req, res) {
  const url = new URL(req.url, world.issuer);
  const body = await bodyOf(req);
  if (url.pathname.startsWith("/_test/")) return testHook(req, res, url, body);

  const form = /^application\/x-www-form-urlencoded/.test(req.headers["content-type"] ?? "");
  const params = Object.fromEntries(form ? new URLSearchParams(body) : url.searchParams);
  const entry = {
    method: req.method,
    path: url.pathname,
    params,
    grant_type: params.grant_type ?? null,
    client_auth: req.headers.authorization?.split(" ")[0] ?? (params.client_secret ? "post" : null),
    headers: req.headers,
    at: Date.now(),
    ms: null,
    status: null, // null: still being answered; "dropped": the client got nothing
    error: null,
    reused: false,
    fault: false,
  };
  world.log.push(entry);
  res.on("close", () => {
    entry.ms = Date.now() - entry.at;
    entry.status ??= res.writableFinished ? res.statusCode : "dropped";
  });

  const fault = takeFault(url.pathname, params.grant_type);
  if (fault) {
    entry.fault = true;
    if (fault.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs).unref());
    if (fault.drop === "before") return req.socket.destroy();
    if (fault.status) {
      const text = typeof fault.body === "string" ? fault.body : JSON.stringify(fault.body ?? {});
      const type = typeof fault.body === "string" ? "text/html" : "application/json";
      res.writeHead(fault.status, { "content-type": type, ...fault.headers });
      return res.end(text);
    }
  }

  if (url.pathname.startsWith("/_login/")) return signIn(req, res, url, params);
  Object.assign(req, { entry, fault, body });
  return world.answer(req, res);
}

async function signIn(req, res, url, form) {
  const { provider, config } = world;
  const details = await provider.interactionDetails(req, res);
  const sub = form.login || config.AUTO_LOGIN || (req.method === "GET" && details.params.login_hint);
  let result;
  if (world.refusal) {
    result = { error: world.refusal, error_description: "the user said no" };
    world.refusal = null;
  } else if (details.prompt.name === "consent") {
    result = { consent: {} };
  } else if (sub) {
    result = { login: { accountId: String(sub) }, consent: {} };
  } else {
    res.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    return res.end(loginForm(details.uid, details.params.login_hint ?? ""));
  }
  await provider.interactionFinished(req, res, result);
}

// --------------------------------------------------------------------------- test hooks

const hooks = {
  "GET /_test/log": () => world.log,
  "DELETE /_test/log": () => void (world.log = []),
  "GET /_test/state": () => ({
    refresh_tokens: world.store.live("RefreshToken").length,
    access_tokens: world.store.live("AccessToken").length,
    sessions: world.store.live("Session").filter((session) => session.accountId).length,
    messages: world.messages,
  }),
  "POST /_test/configure": (changes) => world.configure(changes),
  "POST /_test/rotate-keys": () => world.rotateKeys(),
  "POST /_test/fault": (fault) =>
    void world.faults.push({ times: 1, skip: 0, ...fault }),
  "DELETE /_test/fault": () => void (world.faults = []),
  "POST /_test/refuse-login": ({ error }) => void (world.refusal = error ?? "access_denied"),
  "POST /_test/introspect": ({ token }) => {
    for (const kind of ["RefreshToken", "AccessToken"]) {
      const found = world.store.get(kind, token);
      if (found) return { active: !found.consumed, kind, sub: found.accountId };
    }
    return { active: false, spent: world.store.spent.has(token) };
  },
  // What an administrator of the provider does: the session and its tokens die, the client is told.
  "POST /_test/end-session": async ({ sub }) => {
    const { provider, store } = world;
    const client = await provider.Client.find(world.config.CLIENT_ID);
    let ended = 0;
    for (const session of store.all("Session").filter(({ accountId }) => accountId === sub)) {
      const { grantId, sid } = session.authorizations?.[client.clientId] ?? {};
      for (const model of ["AccessToken", "RefreshToken"]) await store.adapter(model).revokeByGrantId(grantId);
      await store.adapter("Session").destroy(session.jti);
      if (sid && client.backchannelLogoutUri) await client.backchannelLogout(sub, sid).catch(() => {});
      ended += 1;
    }
    return { ended };
  },
};

async function testHook(req, res, url, body) {
  const reply = (status, value) => {
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify(value ?? null));
  };
  const loginAs = url.pathname.match(/^\/_test\/login-as\/(.*)$/); // empty: show the form again
  if (loginAs) {
    world.config.AUTO_LOGIN = decodeURIComponent(loginAs[1]);
    return reply(200, { login_as: world.config.AUTO_LOGIN });
  }
  const hook = hooks[`${req.method} ${url.pathname}`];
  if (!hook) return reply(404, { error: "no such hook" });
  try {
    reply(200, await hook(body ? JSON.parse(body) : {}));
  } catch (error) {
    reply(400, { error: String(error) });
  }
}

const server = http.createServer((req, res) =>
  serve(req, res).catch((error) => {
    if (req.socket.destroyed) return;
    console.error(error);
    if (!res.headersSent) res.writeHead(error.statusCode ?? 500, { "content-type": "text/plain" });
    res.end(String(error));
  }),
);
server.keepAliveTimeout = 60_000;

process.on("SIGTERM", () => process.exit(0));
server.listen(Number(process.env.PORT || 0), host, () => {
  world.issuer ||= `http://${host}:${server.address().port}`;
  world.keys = newKeys();
  world.configure({});
  console.log(`op: ready ${world.issuer}`);
});
