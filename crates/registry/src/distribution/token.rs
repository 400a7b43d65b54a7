//! How requests to one registry are let in: what it asks for, and the tokens it was satisfied with.
//!
//! A token is kept for its scopes until shortly before it expires, and is asked for by one thread
//! at a time. Logins are looked for when a registry first asks for one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::{CredentialSources, Found, Login};
use crate::http::error::{FetchProblem, fetch_error};
use crate::http::retry::{Failed, RetryPolicy, persist};
use crate::http::transfer::accepted;

/// What a token lasts if its service does not say, by the protocol.
const LIFETIME_DEFAULT: u64 = 60;
/// No token is kept for longer, whatever its service says: asking again costs one request.
const LIFETIME_MAX: u64 = 24 * 60 * 60;
/// Tokens are not used in their last seconds: a request takes time to arrive.
const LIFETIME_MARGIN: Duration = Duration::from_secs(5);
const ANSWER_MAX: u64 = 1 << 20;
const CLIENT_ID: &str = "cairn";

/// What a request is for: `repository:lab/app:pull,push`, and further ones.
pub(crate) type Scopes = Vec<String>;

/// The way into one registry.
pub(crate) struct Tokens {
    registry: String,
    sources: CredentialSources,
    challenge: Mutex<Option<Challenge>>,
    known: Mutex<HashMap<Scopes, Token>>,
    logins: Mutex<HashMap<String, Found>>,
    asking: Mutex<()>,
}

#[derive(Clone)]
struct Token {
    text: String,
    ends: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// A number of seconds; what some services send instead must not cost the token.
    expires_in: Option<serde_json::Value>,
}

/// The means of asking a token service.
pub(crate) struct Asker<'a> {
    pub(crate) client: &'a Client,
    /// Makes one that follows no redirect to another host.
    pub(crate) homebound: &'a dyn Fn() -> Result<Client, FetchProblem>,
    pub(crate) retry: &'a RetryPolicy,
    /// Whether the service may be one without TLS.
    pub(crate) may_be_plain: bool,
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

impl Tokens {
    pub(crate) fn new(registry: &str, sources: CredentialSources) -> Tokens {
        Tokens {
            registry: registry.to_owned(),
            sources,
            challenge: Mutex::default(),
            known: Mutex::default(),
            logins: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Notes what the registry asks for.
    pub(crate) fn challenged(&self, challenge: Challenge) {
        *self.challenge.lock().expect("no panics while held") = Some(challenge);
    }

    /// The header that lets a request in, as far as is known; `refused` is one that did not.
    pub(crate) fn authorization(
        &self,
        repository: &str,
        scopes: &Scopes,
        refused: Option<&HeaderValue>,
        asker: &Asker<'_>,
    ) -> Result<Option<HeaderValue>, FetchProblem> {
        let challenge = self.challenge.lock().expect("no panics while held").clone();
        let header = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => match self.login(repository).login {
                Some(Login::Basic { user, password }) => Some(basic(&user, &password)),
                Some(Login::Registry(token)) => Some(bearer(&token)),
                Some(Login::Identity(_)) | None => None,
            },
            Some(Challenge::Bearer { realm, service, .. }) => match self.login(repository).login {
                Some(Login::Registry(token)) => Some(bearer(&token)),
                login => {
                    let service = Service {
                        realm: &realm,
                        name: service.as_deref(),
                    };
                    Some(self.token(&service, scopes, login, refused, asker)?)
                }
            },
        };
        // Saying the same again would bring the same answer.
        Ok(header.filter(|header| Some(header) != refused))
    }

    /// The login to a repository, looked for once.
    pub(crate) fn login(&self, repository: &str) -> Found {
        let mut logins = self.logins.lock().expect("no panics while held");
        let found = logins
            .entry(repository.to_owned())
            .or_insert_with(|| self.sources.find(&self.registry, repository));
        found.clone()
    }

    fn token(
        &self,
        service: &Service<'_>,
        scopes: &Scopes,
        login: Option<Login>,
        refused: Option<&HeaderValue>,
        asker: &Asker<'_>,
    ) -> Result<HeaderValue, FetchProblem> {
        let _one_at_a_time = self.asking.lock().expect("no panics while held");
        let known = self.known.lock().expect("no panics while held");
        if let Some(token) = known.get(scopes)
            && token.ends > Instant::now()
            && Some(&bearer(&token.text)) != refused
        {
            return Ok(bearer(&token.text));
        }
        drop(known);
        let token = service.ask(scopes, login.as_ref(), asker)?;
        let header = bearer(&token.text);
        let mut known = self.known.lock().expect("no panics while held");
        known.insert(scopes.clone(), token);
        Ok(header)
    }
}

/// A token service.
struct Service<'a> {
    realm: &'a str,
    name: Option<&'a str>,
}

impl Service<'_> {
    fn ask(
        &self,
        scopes: &Scopes,
        login: Option<&Login>,
        asker: &Asker<'_>,
    ) -> Result<Token, FetchProblem> {
        let url = self.url(asker)?;
        let method = match login {
            Some(Login::Identity(_)) => "POST",
            _ => "GET",
        };
        let answer = persist(asker.retry, asker.is_stopped, || {
            self.ask_once(url.clone(), scopes, login, asker)
                .map_err(Failed::from)
        });
        answer.map_err(|(problem, attempts)| match problem {
            FetchProblem::Cancelled => FetchProblem::Cancelled,
            problem => {
                let error = fetch_error(method, url.as_str(), attempts, problem);
                FetchProblem::Token(Box::new(error))
            }
        })
    }

    fn url(&self, asker: &Asker<'_>) -> Result<Url, FetchProblem> {
        let refuse = |reason: &str| {
            let realm = cairn_oci::redact(self.realm);
            FetchProblem::Answer(format!("the registry names `{realm}` for tokens: {reason}"))
        };
        let url = Url::parse(self.realm).map_err(|_| refuse("that is no URL"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if asker.may_be_plain => Ok(url),
            "http" => Err(refuse("a password must not go there without TLS")),
            _ => Err(refuse("that is no https URL")),
        }
    }

    fn ask_once(
        &self,
        mut url: Url,
        scopes: &Scopes,
        login: Option<&Login>,
        asker: &Asker<'_>,
    ) -> Result<Token, FetchProblem> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(self.name.map(|name| ("service", name)));
        let joined = scopes.join(" ");
        let request = match login {
            Some(Login::Identity(token)) => {
                fields.extend([
                    ("scope", joined.as_str()),
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("refresh_token", token.as_str()),
                ]);
                let form = "application/x-www-form-urlencoded";
                let post = (asker.homebound)()?.post(url).header(CONTENT_TYPE, form);
                post.body(encoded(&fields))
            }
            login => {
                fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
                if let Some(Login::Basic { user, .. }) = login {
                    fields.extend([("account", user.as_str()), ("client_id", CLIENT_ID)]);
                }
                url.query_pairs_mut().extend_pairs(fields);
                let get = asker.client.get(url);
                match login {
                    Some(Login::Basic { user, password }) => get.basic_auth(user, Some(password)),
                    _ => get,
                }
            }
        };
        let sent = request.send().map_err(FetchProblem::of_request)?;
        read_token(accepted(sent)?)
    }
}

fn read_token(response: reqwest::blocking::Response) -> Result<Token, FetchProblem> {
    use std::io::Read;
    let mut text = Vec::new();
    let read = response.take(ANSWER_MAX).read_to_end(&mut text);
    read.map_err(|source| FetchProblem::Broken {
        received: text.len() as u64,
        source,
    })?;
    let Some((text, lifetime)) = token_in(&text) else {
        let reason = "the token service answered without a token";
        return Err(FetchProblem::Answer(reason.to_owned()));
    };
    Ok(Token {
        text,
        ends: Instant::now() + lifetime - LIFETIME_MARGIN,
    })
}

/// The token in an answer, and how long it lasts.
fn token_in(text: &[u8]) -> Option<(String, Duration)> {
    let answer: Answer = serde_json::from_slice(text).ok()?;
    let token = answer.token.filter(|token| !token.is_empty());
    let seconds = answer.expires_in.and_then(|told| told.as_u64());
    let seconds = seconds.unwrap_or(0).clamp(LIFETIME_DEFAULT, LIFETIME_MAX);
    Some((token.or(answer.access_token)?, Duration::from_secs(seconds)))
}

/// Fields as a form sends them.
fn encoded(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form/").expect("a URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let both = STANDARD.encode(format!("{user}:{password}"));
    secret(&format!("Basic {both}"))
}

fn bearer(token: &str) -> HeaderValue {
    secret(&format!("Bearer {token}"))
}

/// A header that nothing prints. A token with signs that no header may have lets nobody in.
fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lifetime_is_too_strange() {
        let check =
            |text: &str| token_in(text.as_bytes()).map(|(text, ends)| (text, ends.as_secs()));
        let lasts = |seconds| Some(("t".to_owned(), seconds));
        assert_eq!(check(r#"{"token":"t","expires_in":300}"#), lasts(300));
        assert_eq!(check(r#"{"token":"","access_token":"t"}"#), lasts(60));
        assert_eq!(check(r#"{"token":"t","expires_in":1}"#), lasts(60));
        let endless = format!(r#"{{"token":"t","expires_in":{}}}"#, u64::MAX);
        assert_eq!(check(&endless), lasts(LIFETIME_MAX));
        for odd in ["300.5", "-1", "\"300\"", "null"] {
            let text = format!(r#"{{"token":"t","expires_in":{odd}}}"#);
            assert_eq!(check(&text), lasts(60), "{odd}");
        }
        assert_eq!(check("{}"), None);
    }
}
