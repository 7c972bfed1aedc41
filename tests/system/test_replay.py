"""`trabajos observer`: periods played again, and the score of the last day."""

import csv
import io
import subprocess
import xml.etree.ElementTree

import pytest
import trabajos


def observer(*arguments, text="", environment=None):
    return subprocess.run([trabajos.BIN / "trabajos", "observer", *arguments], input=text, env=environment or {"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=60, check=False)


def replay(*arguments, text="", **options):
    return observer("replay", *[f"--{name.replace('_', '-')}={value}" for name, value in options.items()], *arguments, text=text)


def test_a_recorded_period_is_played_against_every_policy():
    period = "arrival_s,duration_s,user\n" + "".join(f"{i * 0.1:.1f},5,u{i % 3}\n" for i in range(200))
    done = replay(text=period, replay_file="-", replay_format="csv", replay_keda="1,5", replay_fixed="4")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["policy"], row["number"]) for row in rows] == [("rule", "0"), ("keda", "1"), ("keda", "5"), ("fixed", "4")]
    assert all(row["jobs"] == "200" for row in rows)
    assert float(rows[0]["in_deadline"]) == 1 and rows[0]["killed"] == "0"
    assert replay(text=period, replay_file="-", replay_format="csv", replay_keda="1,5", replay_fixed="4").stdout == done.stdout


def test_a_model_comes_out_as_a_csv_that_goes_in_again():
    made = replay(replay_model="batch", replay_format="trace")
    assert made.stdout.startswith("arrival_s,duration_s,user\n") and made.stdout.count("\n") > 1000
    assert replay(replay_file="-", replay_format="trace", text=made.stdout).stdout.count("\n") == made.stdout.count("\n")


def test_the_plot_is_an_svg():
    picture = xml.etree.ElementTree.fromstring(replay(replay_model="flash", replay_format="svg").stdout)
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 2 * 5


@pytest.mark.parametrize("options, said", (
    ({"replay_file": "/nowhere.csv"}, "REPLAY_FILE: /nowhere.csv: No such file or directory"),
    ({"replay_file": "-"}, "standard input:2: no duration in seconds, at most 30 days: '2,x'"),
    ({"replay_model": "tide"}, "REPLAY_MODEL: no model 'tide', only steady"),
    ({"replay_model": "wave", "replay_file": "-"}, "REPLAY_MODEL: not together with REPLAY_FILE"),
    ({"replay_model": "wave", "replay_keda": "0"}, "REPLAY_KEDA: numbers from 1 on"),
    ({"replay_model": "wave", "replay_fixed": "1,a"}, "REPLAY_FIXED: numbers from 1 on"),
    ({"replay_model": "wave", "scale_max": "0"}, "SCALE_MAX: without a worker no job ever starts"),
    ({"replay_model": "wave", "scale_min": "20"}, "SCALE_MIN: 20 is more than SCALE_MAX, 16"),
))
def test_what_is_wrong_is_said_in_one_line(options, said):
    done = replay(text="1,2\n2,x\n", **options)
    assert (done.returncode, done.stdout) == (78, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_the_verbs_are_told_and_a_database_that_is_away_is_named():
    assert observer("--help").returncode == 0
    assert observer().returncode == 64
    away = observer("score", "--postgres-port=1", "--postgres-host=127.0.0.1")
    assert away.returncode == 69 and "ledger" not in away.stdout


def test_the_last_day_of_the_ledger_is_scored(stack, user, script, worker):
    user.run(script("true").url)
    stack.sql("INSERT INTO scale_decisions (at, wanted, actual, bound, reason, actuator, sample, judged_at, until, claimed, late, worker_ms,"
              " needed, partly) VALUES (now() - interval '2 min', 1, 1, 'min', 'because', 'advise', '{}', now(), now() - interval '1 min',"
              " 400, 300, 60000, 5, false)")
    stack.sql("INSERT INTO predictions (key, attempt, position, median_ms, low_ms, high_ms, started_ms, look_at)"
              " SELECT gen_random_uuid(), 0, 1, 1000, 500, 2000, 1000 * i, now() FROM generate_series(1, 4) i")
    environment = trabajos.Daemon(stack, "trabajos", "score").environment()
    done = observer("score", environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The last 24 h: ") and "\nSimulated: " in done.stdout and "\nThe rule, with up to " in done.stdout
    assert "\nForetold to a sample of the last day's jobs: " in done.stdout
    assert "\nWith hindsight, of " in done.stdout and ": 1 worker wanted, 1 there, 5 needed; 300 jobs went over the deadline\n" in done.stdout
    again = observer("replay", "--replay-keda=none", environment=environment)
    assert again.returncode == 0 and "\nrule " in again.stdout
