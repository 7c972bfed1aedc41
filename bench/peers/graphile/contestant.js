// A contestant of bench/ledger (see there): graphile-worker as its documentation on performance says, everything batched.
//
//     contestant.js setup          makes the schema
//     contestant.js post N BATCH   inserts N jobs, BATCH a statement
//     contestant.js work           works until its stdin ends; prints "done N T": jobs so far, microseconds of the
//                                  monotonic clock
//
// Where and when: PGHOST and its like; prints "ready", and begins at the first line of stdin. CONCURRENCY and FETCH tune it.
import readline from "node:readline";
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";

const { env } = process;
const USERS = Number(env.USERS ?? 1000);
const URL = "https://git.example.org/someone/something.git";
const CONCURRENCY = Number(env.CONCURRENCY ?? 24);
const FETCH = Number(env.FETCH ?? 500);
const REPORT_MS = 2;

const pool = new pg.Pool({ max: CONCURRENCY + 1 });
pool.on("error", console.error);
pool.on("connect", (client) => client.on("error", console.error));
const logger = new Logger(() => (level, message) => {
	if (level === "error") console.error(message);
});
const preset = {
	worker: {
		concurrentJobs: CONCURRENCY,
		maxPoolSize: CONCURRENCY + 1,
		localQueue: { size: FETCH },
		completeJobBatchDelay: 0,
		failJobBatchDelay: 0,
	},
};
const shared = { pgPool: pool, logger, preset, noHandleSignals: true };

const lines = readline.createInterface({ input: process.stdin });
const go = new Promise((resolve) => lines.once("line", resolve));
const end = new Promise((resolve) => lines.once("close", resolve));

// One statement a batch, as the documentation has it: addJobs() of the library, which returns every row, is slower.
const ADD = {
	name: "add",
	text:
		"SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT" +
		" json_populate_record(null::graphile_worker.job_spec, j) FROM json_array_elements($1::json) j))",
};

function report(count) {
	console.log(`done ${count} ${process.hrtime.bigint() / 1000n}`);
}

async function post(count, batch) {
	const client = await pool.connect();
	await client.query("SELECT 1");
	console.log("ready");
	await go;
	report(0);
	for (let posted = 0; posted < count; posted += batch) {
		const specs = [];
		for (let i = posted; i < Math.min(count, posted + batch); i++)
			specs.push({ identifier: "noop", payload: { owner: `owner-${i % USERS}`, usuario: `user${i % USERS}`, url: URL } });
		await client.query({ ...ADD, values: [JSON.stringify(specs)] });
	}
	client.release();
}

async function work() {
	let done = 0;
	let told = 0;
	// An event of the library comes before its batch is deleted; what the database has acknowledged is what counts.
	const query = pg.Client.prototype.query;
	pg.Client.prototype.query = function (config, ...rest) {
		const result = query.call(this, config, ...rest);
		if (/^complete_job/.test(config?.name ?? "")) result.then((answer) => (done += answer.rowCount), () => {});
		return result;
	};
	await pool.query("SELECT 1");
	console.log("ready");
	await go;
	const timer = setInterval(() => {
		if (done !== told) report((told = done));
	}, REPORT_MS);
	const runner = await run({ ...shared, taskList: { noop: async () => {} }, parsedCronItems: [] });
	await end;
	await runner.stop();
	clearInterval(timer);
	report(done);
}

const [role, ...numbers] = process.argv.slice(2);
if (role === "setup") {
	await runMigrations(shared);
	const utils = await makeWorkerUtils(shared);
	await utils.addJobs([{ identifier: "noop" }]); // makes the task known
	await utils.release();
	await pool.query("DELETE FROM graphile_worker._private_jobs");
} else if (role === "post") {
	await post(...numbers.map(Number));
} else {
	await work();
}
await pool.end();
process.exit(0);
