/** What the codes of the contract mean to a person. */

const ENDED = {
  logout: "You signed out. See you soon.",
  idle: "You were away for a while, so we signed you out to keep your photos safe.",
  absolute: "A sign-in lasts only so long here, and yours has reached its end. Please sign in again.",
  backchannel: "You signed out at Lumen, so we signed you out here as well.",
  admin: "An administrator ended your sign-in. If that surprises you, please ask us.",
  invalid_grant: "Lumen no longer lets us see your photos. Sign in again to give us permission anew.",
  user_disabled: "This account has been disabled. Please contact us if you think that is a mistake.",
  superseded: "You signed in again somewhere newer, and that sign-in took the place of this one.",
  key_lost: "We changed our locks and could not carry your sign-in over. Please sign in once more.",
};

const LOGIN_FAILED = {
  access_denied: "You chose not to share your photos with us. That is fine; nothing was changed.",
  login_expired: "Signing in took a little too long, and the attempt expired. Please try again.",
  provider_unavailable: "Lumen is not answering just now. Please try again in a minute.",
};

const REFUSED = {
  csrf_failed: "The browser did not send what we ask for to know this page is ours. Please reload.",
  not_allowed: "That is not allowed with your account.",
  throttled: "That was a little fast. Please wait a moment.",
  body_too_large: "That file is too large.",
  upstream_unreachable: "Lumen cannot be reached just now. You are still signed in.",
  upstream_timeout: "Lumen takes too long to answer. You are still signed in.",
  provider_unavailable: "Lumen's sign-in service is not answering. You are still signed in; please try again shortly.",
  no_answer: "We cannot be reached. Is this computer online?",
};

/** @param {string | null} reason */
export const ended = (reason) => ENDED[reason] ?? "Your sign-in has ended. Please sign in again.";

/** A link can carry any code, so what is shown is only ever one of our own sentences. */
export const loginFailed = (code) => LOGIN_FAILED[code] ?? "Signing in did not work this time. Please try again.";

/** @param {Error & {code?: string, status?: number}} error */
export const refused = (error) => {
  if (error instanceof TypeError) return REFUSED.no_answer;
  return REFUSED[error.code] ?? `Lumen did not accept that (${error.status ?? error.message}).`;
};
