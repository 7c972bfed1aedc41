// A contestant of bench/ledger (see there): pg-boss, with fetch and complete in batches.
//
//     contestant.js setup          makes the schema and the queue
//     contestant.js post N BATCH   inserts N jobs, BATCH a statement
//     contestant.js work           works until its stdin ends; prints "done N T": jobs so far, microseconds of the
//                                  monotonic clock
//
// Where and when: PGHOST and its like; prints "ready", and begins at the first line of stdin. CONCURRENCY and FETCH tune it.
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { PgBoss } from "pg-boss";

const { env } = process;
const USERS = Number(env.USERS ?? 1000);
const URL = "https://git.example.org/someone/something.git";
const QUEUE = "noop";
const CONCURRENCY = Number(env.CONCURRENCY ?? 2);
const FETCH = Number(env.FETCH ?? 500);
const REPORT_MS = 2;
const IDLE_MS = 5; // its own workers poll every half second at the most often

const boss = new PgBoss({
	host: env.PGHOST,
	port: Number(env.PGPORT),
	database: env.PGDATABASE,
	user: env.PGUSER,
	password: env.PGPASSWORD,
	max: CONCURRENCY + 1,
	supervise: false,
	schedule: false,
});
boss.on("error", console.error);

const lines = readline.createInterface({ input: process.stdin });
const go = new Promise((resolve) => lines.once("line", resolve));
let ended = false;
lines.once("close", () => (ended = true));

function report(count) {
	console.log(`done ${count} ${process.hrtime.bigint() / 1000n}`);
}

async function post(count, batch) {
	await boss.getQueue(QUEUE);
	console.log("ready");
	await go;
	report(0);
	for (let posted = 0; posted < count; posted += batch) {
		const jobs = [];
		for (let i = posted; i < Math.min(count, posted + batch); i++)
			jobs.push({ data: { owner: `owner-${i % USERS}`, usuario: `user${i % USERS}`, url: URL } });
		await boss.insert(QUEUE, jobs);
	}
}

async function work() {
	let done = 0;
	let told = 0;
	await boss.getQueue(QUEUE);
	console.log("ready");
	await go;
	const timer = setInterval(() => {
		if (done !== told) report((told = done));
	}, REPORT_MS);
	async function loop() {
		while (!ended) {
			const jobs = await boss.fetch(QUEUE, { batchSize: FETCH });
			if (jobs.length === 0) {
				await sleep(IDLE_MS);
				continue;
			}
			const answer = await boss.complete(QUEUE, jobs.map((job) => job.id));
			done += answer.affected;
		}
	}
	await Promise.all(Array.from({ length: CONCURRENCY }, loop));
	clearInterval(timer);
	report(done);
}

const [role, ...numbers] = process.argv.slice(2);
await boss.start();
if (role === "setup") await boss.createQueue(QUEUE);
else if (role === "post") await post(...numbers.map(Number));
else await work();
await boss.stop({ graceful: false });
process.exit(0);
