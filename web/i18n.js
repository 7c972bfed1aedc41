// All texts are in lang/, one file a language; the browser's first one that is there is taken.

const known = ['en', 'es'];
export const language = (navigator.languages || []).map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => known.includes(tag)) || 'en';
const texts = (await import(`./lang/${language}.js`)).default;
const plurals = new Intl.PluralRules(language);
// Dates and figures as the browser's region writes them, where it is the same language's.
export const locale = (navigator.languages || []).find((tag) => tag.slice(0, 2).toLowerCase() === language) || language;
document.documentElement.lang = language;

const figure = new Intl.NumberFormat(locale, {maximumFractionDigits: 1});
export function number(value) {
	return figure.format(value);
}

export function has(key) {
	return key in texts;
}

// {name} stands for a value; a text with forms for one and other chooses by {n}.
export function t(key, values = {}) {
	let text = texts[key];
	if (text === undefined) return key;
	if (typeof text === 'object') text = text[plurals.select(values.n)] || text.other;
	return text.replace(/\{(\w+)\}/g, (_, name) => {
		const value = values[name];
		return typeof value === 'number' ? number(value) : String(value ?? '');
	});
}
