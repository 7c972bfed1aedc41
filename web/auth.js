// Logging in at the issuer: authorization code with PKCE (RFC 7636), by going there and coming back. The tokens are in this
// module's memory and nowhere else. sessionStorage has, while somebody is at the issuer's, what the way back needs, and after
// that who was logged in in this tab: a reload goes to the issuer and comes straight back, and what the tab keeps (place.js) is for
// nobody else.

import {keepDraft, keepNow} from './place.js';

const CLIENT = 'trabajos-web';
const base = new URL('.', document.baseURI);
let provider = null; // the issuer's own description
let tokens = null;
let renewing = null;
const listeners = [];

function tell() {
	for (const listener of listeners) listener();
}
export function onChange(listener) {
	listeners.push(listener);
}

async function json(response) {
	if (!response.ok) throw new Error(`${response.status} ${response.url}`);
	return response.json();
}

async function discover() {
	if (provider) return provider;
	const resource = await json(await fetch(new URL('.well-known/oauth-protected-resource', base)));
	const issuer = resource.authorization_servers[0];
	const found = await json(await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`));
	if (found.issuer !== issuer) throw new Error(`${found.issuer} is not ${issuer}`);
	return provider = found;
}

function base64url(data) {
	return btoa(String.fromCharCode(...new Uint8Array(data))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}
function random() {
	return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function address() {
	return base.origin + base.pathname;
}

// Away to the issuer; `quietly`: only to ask whether there is a session still.
export async function logIn({quietly = false} = {}) {
	if (!crypto.subtle) throw new Error('insecure');
	const {authorization_endpoint} = await discover();
	const verifier = random(), state = random();
	const challenge = base64url(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
	keepNow();
	sessionStorage.setItem('login', JSON.stringify({verifier, state, place: location.hash, kept: history.state}));
	const to = new URL(authorization_endpoint);
	const asked = {client_id: CLIENT, response_type: 'code', scope: 'openid', redirect_uri: address(), state, code_challenge: challenge,
		code_challenge_method: 'S256', ui_locales: document.documentElement.lang};
	for (const [name, value] of Object.entries(asked)) to.searchParams.set(name, value);
	if (quietly) to.searchParams.set('prompt', 'none');
	location.replace(to);
	return new Promise(() => {}); // the page goes away
}

async function exchange(fields) {
	const {token_endpoint} = await discover();
	const response = await fetch(token_endpoint, {method: 'POST', body: new URLSearchParams({client_id: CLIENT, ...fields})});
	const answer = await response.json();
	if (!response.ok) throw Object.assign(new Error(answer.error_description || answer.error), {refused: true});
	tokens = {...answer, until: performance.now() + answer.expires_in * 1000};
	sessionStorage.setItem('session', 'yes');
	tell();
}

// Of who was here before nothing is left, neither what they wrote nor where they were.
function greet() {
	const before = sessionStorage.getItem('who'), {id} = user();
	if (before && before !== id) {
		keepDraft(null);
		history.replaceState(null, '', address());
	}
	sessionStorage.setItem('who', id);
}

// Back from the issuer: true where somebody is logged in now. What went wrong is thrown.
async function comeBack() {
	const query = new URLSearchParams(location.search);
	if (!query.has('state')) return false;
	const login = JSON.parse(sessionStorage.getItem('login') || 'null');
	sessionStorage.removeItem('login');
	history.replaceState(login ? login.kept : null, '', address() + (login ? login.place : ''));
	if (!login || login.state !== query.get('state')) return false; // an old tab's, or a stranger's: ask anew
	if (query.has('iss') && query.get('iss') !== (await discover()).issuer) throw new Error('another issuer');
	if (query.has('error')) {
		sessionStorage.removeItem('session');
		if (['login_required', 'interaction_required', 'access_denied'].includes(query.get('error'))) return false;
		throw new Error(query.get('error_description') || query.get('error'));
	}
	await exchange({grant_type: 'authorization_code', code: query.get('code'), code_verifier: login.verifier, redirect_uri: address()});
	greet();
	return true;
}

export async function start() {
	if (await comeBack()) return true;
	if (!sessionStorage.getItem('session')) return false;
	return logIn({quietly: true});
}

export async function renew() {
	renewing ||= exchange({grant_type: 'refresh_token', refresh_token: tokens.refresh_token}).finally(() => {
		renewing = null;
	});
	try {
		await renewing;
		return true;
	} catch (error) {
		if (!error.refused) throw error; // the issuer cannot be reached: not the session's end
		sessionStorage.removeItem('session');
		tokens = null;
		tell();
		return false;
	}
}

// An access token that is good for a while yet; null: nobody is logged in (any more).
export async function token() {
	if (tokens && tokens.until - performance.now() < Math.min(30000, tokens.expires_in * 250)) await renew();
	return tokens && tokens.access_token;
}

export async function logOut() {
	const {end_session_endpoint} = await discover();
	const to = new URL(end_session_endpoint);
	to.searchParams.set('client_id', CLIENT);
	to.searchParams.set('post_logout_redirect_uri', address());
	if (tokens) to.searchParams.set('id_token_hint', tokens.id_token);
	tokens = null;
	for (const name of ['session', 'who']) sessionStorage.removeItem(name);
	keepDraft(null);
	history.replaceState(null, '', address());
	location.replace(to);
}

// Who it is, for showing: what counts is decided by the server.
export function user() {
	if (!tokens) return null;
	const part = tokens.access_token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
	const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
	const roles = (claims.realm_access && claims.realm_access.roles) || [];
	return {name: claims.preferred_username, id: claims.sub, admin: roles.includes('admin'), may: roles.includes('user') || roles.includes('admin')};
}
