// The peer of bench/submit: GET or POST /add as an Express developer writes it, with the durability of ours. Every answer
// stands behind Kafka's acknowledgement with acks=all and a committed row in PostgreSQL; every token is verified.
//
// It speaks with each service as its clients' documentation says: one keep-alive connection to Kafka with many requests
// under way, a pool of PostgreSQL connections with a prepared statement, keys of the issuer fetched once and cached.
// CLUSTER=n forks n such processes behind one port.
import cluster from "node:cluster";
import { randomUUID } from "node:crypto";
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { Kafka, logLevel } from "kafkajs";
import pg from "pg";

const { env } = process;
const TOPIC = env.TOPIC ?? "peer-trabajos";
const INSERT = {
	name: "insert-trabajo",
	text:
		"INSERT INTO peer_trabajos (key, owner, usuario, url, status, posted_at)" +
		" VALUES ($1, $2, $3, $4, 'Queued', to_timestamp($5 / 1000.0)) ON CONFLICT (key) DO NOTHING",
};

const producer = new Kafka({ clientId: "peer", brokers: env.KAFKA_BOOTSTRAP.split(","), logLevel: logLevel.WARN }).producer();
const pool = new pg.Pool({
	host: env.POSTGRES_HOST,
	port: Number(env.POSTGRES_PORT),
	database: env.POSTGRES_DB,
	user: env.POSTGRES_USER,
	password: env.POSTGRES_PASSWORD,
	max: Number(env.POOL ?? 32),
});
const keys = createRemoteJWKSet(new URL(`${env.KEYCLOAK_ISSUER}/protocol/openid-connect/certs`));
const rules = { issuer: env.KEYCLOAK_ISSUER, audience: env.KEYCLOAK_AUDIENCE ?? "nodejs-microservice", algorithms: ["RS256"] };

async function authenticate(request, response, next) {
	const [scheme, token] = (request.get("authorization") ?? "").split(" ");
	if (scheme.toLowerCase() !== "bearer" || !token) return response.sendStatus(401);
	try {
		const { payload } = await jwtVerify(token, keys, rules);
		const roles = payload.realm_access?.roles ?? [];
		if (payload.typ !== "Bearer") return response.sendStatus(401);
		if (!roles.includes("user") && !roles.includes("admin")) return response.sendStatus(403);
		request.claims = payload;
	} catch {
		return response.set("WWW-Authenticate", 'Bearer error="invalid_token"').sendStatus(401);
	}
	next();
}

async function add(request, response) {
	const text = request.query.url ?? request.body?.url;
	if (typeof text !== "string" || text.length > 2000 || !URL.canParse(text) || new URL(text).protocol !== "https:")
		return response.status(400).type("text").send("The parameter url is no https URL.\n");
	const { sub, preferred_username: usuario } = request.claims;
	const key = randomUUID();
	const [{ logAppendTime }] = await producer.send({
		topic: TOPIC,
		acks: -1,
		messages: [{ key, value: text, headers: { sub, usuario } }],
	});
	await pool.query({ ...INSERT, values: [key, sub, usuario, text, logAppendTime] });
	response.set({ "Cache-Control": "no-store", Location: `/api/v1/trabajos/${key}` });
	response.type("text/plain").send(`Trabajo añadido: ${key}\n`);
}

async function serve() {
	await producer.connect();
	await pool.query("SELECT 1");
	const app = express();
	app.disable("x-powered-by");
	app.disable("etag");
	app.get("/healthcheck", (request, response) => response.type("text").send("OK\n"));
	app.get("/add", authenticate, add);
	app.post("/add", express.urlencoded({ extended: false, limit: "16kb" }), authenticate, add);
	const server = app.listen(Number(env.PORT), "127.0.0.1", (error) => {
		if (error) throw error;
	});
	process.once("SIGTERM", () => {
		server.close(async () => {
			await Promise.all([producer.disconnect(), pool.end()]);
			process.exit(0);
		});
		server.closeAllConnections();
	});
}

const processes = Number(env.CLUSTER ?? 0);
if (processes > 0 && cluster.isPrimary) {
	for (let i = 0; i < processes; i++) cluster.fork();
	process.once("SIGTERM", () => {
		for (const worker of Object.values(cluster.workers)) worker.process.kill();
	});
	cluster.on("exit", () => {
		if (Object.keys(cluster.workers).length === 0) process.exit(0);
	});
} else {
	await serve();
}
