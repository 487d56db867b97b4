use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use wasm_grid::{HostState, JobId, JobState, Role, Roles, WorkerId, WorkerState};

use crate::command::top::data::TopNews;
use crate::command::top::deed::TopDeed;
use crate::command::top::resource::TopResource;
use crate::command::top::samples::{
    NOW_MS, answer, host, job, job_detail, joined, key, keys, seen, task_detail, worker,
};
use crate::command::top::state::{TopEffect, TopPageKind, TopPrompt, TopState};
use crate::command::top::thing::TopThing;

/// The first cells of the rows on the screen, the selected one with a mark.
fn shown(state: &TopState) -> Vec<String> {
    let row = |(row, is_selected): (&crate::command::top::table::TopRow, bool)| {
        format!("{}{}", if is_selected { ">" } else { "" }, row.cells[0].shown())
    };
    state.visible_rows().map(row).collect()
}

fn status(state: &TopState) -> String {
    state.status().map(|(text, _)| text).unwrap_or_default()
}

fn texts(state: &TopState) -> Vec<String> {
    state.visible_lines().unwrap().iter().map(|line| line.text().to_owned()).collect()
}

#[test]
fn a_digit_and_a_command_lead_to_the_same_screen() {
    for (place, resource) in TopResource::ALL.into_iter().enumerate() {
        let mut state = seen(80, 24);
        keys(&mut state, &(place + 1).to_string());
        assert_eq!(state.wanted().resource, resource);
        keys(&mut state, &format!(":{}\n", &resource.name()[..1]));
        assert_eq!(state.wanted().resource, resource);
    }
}

#[test]
fn a_tab_completes_a_command_and_the_next_tab_goes_on() {
    let mut state = seen(80, 24);
    keys(&mut state, ":wo\t");
    assert_eq!(state.prompt(), Some(&TopPrompt::Command("workers".to_owned())));
    keys(&mut state, "\t\n");
    assert_eq!(state.wanted().resource, TopResource::Modules);
}

#[test]
fn a_command_that_there_is_not_is_refused_in_words_and_changes_nothing() {
    let mut state = seen(80, 24);
    assert_eq!(keys(&mut state, "3:nonsense\n"), None);
    assert!(
        status(&state).starts_with("there is no `nonsense`; there are overview, hosts"),
        "{}",
        status(&state)
    );
    assert_eq!(state.wanted().resource, TopResource::Jobs);
}

#[test]
fn three_ways_leave_and_ctrl_c_leaves_from_a_prompt_too() {
    for typed in ["q", ":q\n", ":quit\n"] {
        assert_eq!(keys(&mut seen(80, 24), typed), Some(TopEffect::Leave), "{typed:?}");
    }
    for typed in ["^c", ":ho^c", "/x^c", "2^d^c", "?^c"] {
        assert_eq!(keys(&mut seen(80, 24), typed), Some(TopEffect::Interrupt), "{typed:?}");
    }
    let mut state = seen(80, 24);
    let mut release = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    release.kind = KeyEventKind::Release;
    assert_eq!(state.handle_key(release), None);
}

#[test]
fn a_filter_works_as_it_is_typed_stays_after_enter_and_goes_with_escape() {
    let mut state = seen(80, 24);
    keys(&mut state, "2/RACK");
    assert_eq!(shown(&state), [">rack-1", "rack-2"]);
    keys(&mut state, "-2");
    assert_eq!(shown(&state), [">rack-2"]);
    keys(&mut state, "\nj");
    assert_eq!(
        (shown(&state), state.title()),
        (vec![">rack-2".to_owned()], "1 host with `RACK-2`".to_owned())
    );
    keys(&mut state, "\x1b");
    assert_eq!(shown(&state).len(), 3);
    keys(&mut state, "/nothing\x1b");
    assert_eq!(shown(&state).len(), 3);
}

#[test]
fn a_filter_finds_what_stands_in_any_cell_and_hides_everything_if_nothing_does() {
    let mut state = seen(80, 24);
    keys(&mut state, "3/given\n");
    assert_eq!(shown(&state), [">j06060606"]);
    keys(&mut state, "/\x08\x08\x08\x08\x08zzz\n");
    assert_eq!(shown(&state), Vec::<String>::new());
    assert_eq!(keys(&mut state, "d"), None);
    assert_eq!(state.page(), None);
}

#[test]
fn the_selected_thing_stays_selected_wherever_it_goes() {
    let mut state = seen(80, 24);
    keys(&mut state, "2j");
    assert_eq!(shown(&state), ["rack-1", ">rack-2", "stranger"]);
    answer(&mut state, |round| {
        let hosts = ["zoo", "rack-2", "alpha"].into_iter().zip([4, 2, 5]);
        round.hosts = Some(hosts.map(|(name, seed)| host(seed, name, HostState::Ready)).collect());
    });
    assert_eq!(shown(&state), ["alpha", ">rack-2", "zoo"]);
    answer(&mut state, |round| round.hosts = Some(vec![host(4, "zoo", HostState::Ready)]));
    assert_eq!(shown(&state), [">zoo"]);
}

#[test]
fn sorting_goes_through_the_columns_and_can_be_reversed() {
    let mut state = seen(80, 24);
    keys(&mut state, "2s");
    assert_eq!(
        (shown(&state), status(&state)),
        (
            vec!["rack-2".to_owned(), "stranger".to_owned(), ">rack-1".to_owned()],
            "sorted by state".to_owned()
        )
    );
    keys(&mut state, "S");
    assert_eq!(shown(&state), [">rack-1", "stranger", "rack-2"]);
    keys(&mut state, &"s".repeat(8));
    assert_eq!(status(&state), "sorted by name");
    // Numbers are sorted as numbers.
    keys(&mut state, "3sssssss");
    answer(&mut state, |round| {
        let jobs = [(1, 9), (2, 100), (3, 20)];
        round.jobs = Some(jobs.map(|(seed, done)| job(seed, "x", JobState::Finished, done, 0)).to_vec());
    });
    keys(&mut state, "ssssssss");
    while status(&state) != "sorted by done" {
        keys(&mut state, "s");
    }
    let ids: Vec<_> = shown(&state).iter().map(|id| id.trim_start_matches('>')[..3].to_owned()).collect();
    assert_eq!(ids, ["j01", "j03", "j02"]);
}

#[test]
fn a_drain_asks_first_and_does_nothing_unless_it_is_told_yes() {
    for no in ["\n", "n", "\x1b", "q", "\t\t\n"] {
        let mut state = seen(80, 24);
        assert_eq!(keys(&mut state, "2^d"), None);
        let Some(TopPrompt::Confirm(deed, false)) = state.prompt() else { panic!("{:?}", state.prompt()) };
        let (question, lost) = deed.question().unwrap();
        assert_eq!(question, "Drain host rack-1?");
        assert!(lost[0].contains("stops its 2 workers"), "{lost:?}");
        assert_eq!(keys(&mut state, no), None, "{no:?}");
        assert_eq!((state.prompt(), status(&state)), (None, "nothing was changed".to_owned()), "{no:?}");
    }
    for yes in ["y", "\t\n"] {
        let drained = keys(&mut seen(80, 24), &format!("2^d{yes}"));
        let expected = TopDeed::Drain { host: key(1), name: "rack-1".to_owned(), workers: 2 };
        assert_eq!(drained, Some(TopEffect::Carry(expected)), "{yes:?}");
    }
}

#[test]
fn a_stop_says_what_is_lost_and_one_that_would_change_nothing_is_refused() {
    let mut state = seen(80, 24);
    assert_eq!(keys(&mut state, "3^k"), None);
    assert_eq!((status(&state), state.prompt()), ("job sums is given-up already".to_owned(), None));
    keys(&mut state, "/million\n^k");
    let Some(TopPrompt::Confirm(deed, false)) = state.prompt() else { panic!("{:?}", state.prompt()) };
    let (question, lost) = deed.question().unwrap();
    assert_eq!(question, "Stop job to-a-million?");
    let expected = ["tasks that wait, and get no outcome: 5589", "tasks that hosts have, and are ended: 8"];
    assert_eq!(lost[..2], expected);
}

#[test]
fn a_pending_host_is_let_in_by_a_key_and_no_other_host_is() {
    let mut state = seen(80, 24);
    assert_eq!(keys(&mut state, "2a"), None);
    assert_eq!(status(&state), "host rack-1 does not wait for approval");
    let approved = TopDeed::Approve { host: key(3), name: "stranger".to_owned() };
    assert_eq!(keys(&mut state, "Ga"), Some(TopEffect::Carry(approved)));
}

#[test]
fn only_failed_tasks_of_a_job_that_is_over_are_tried_again() {
    let mut state = seen(80, 24);
    let mut said = Vec::new();
    for _ in 0..3 {
        let effect = keys(&mut state, "3r");
        said.push(effect.map_or_else(|| status(&state), |effect| format!("{effect:?}")));
        keys(&mut state, "j");
    }
    said.sort();
    assert!(said[0].contains("Retry") && said[0].contains("dead: 3"), "{said:?}");
    assert_eq!(said[1], "job to-a-million is not over; failed tasks are tried again when it is");
    assert_eq!(said[2], "job wordcounts has no failed task");
}

#[test]
fn with_read_only_no_key_changes_anything() {
    let size = seen(80, 24).size();
    for typed in ["2Ga", "2^d", "3j^k", "4^k", "3r"] {
        let mut state = TopState::new(size, true);
        answer(&mut state, |_| {});
        assert_eq!(keys(&mut state, typed), None, "{typed:?}");
        assert_eq!(state.prompt(), None, "{typed:?}");
        assert!(status(&state).contains("--read-only"), "{typed:?}: {}", status(&state));
    }
}

#[test]
fn a_viewer_is_told_which_role_it_takes() {
    for (typed, role) in [("2^d", "admin"), ("4^k", "client"), ("3r", "client")] {
        let mut state = seen(80, 24);
        answer(&mut state, |round| round.roles = Some(Roles::of(Role::Viewer)));
        assert_eq!(keys(&mut state, typed), None, "{typed:?}");
        let expected = format!("your key may not do that: it takes the role {role}, and has viewer");
        assert_eq!((status(&state), state.prompt()), (expected, None), "{typed:?}");
    }
}

#[test]
fn a_refusal_of_the_manager_is_said_until_the_next_key() {
    let mut state = seen(80, 24);
    state.handle_news(TopNews::Told { text: "the manager says no: drain".to_owned(), bad: true });
    assert_eq!(state.status(), Some(("the manager says no: drain".to_owned(), true)));
    keys(&mut state, "j");
    assert_eq!(state.status(), None);
}

#[test]
fn a_job_is_described_and_its_failed_task_is_proposed() {
    let mut state = seen(80, 40);
    keys(&mut state, "3/million\n\n");
    assert_eq!(state.wanted().thing, Some(TopThing::Job(JobId([7; 16]))));
    assert_eq!(texts(&state), ["asking the manager …"]);
    answer(&mut state, |round| round.detail = Some(job_detail()));
    let described = texts(&state).join("\n");
    for part in
        ["[#############.................]  44 %", "trap: wasm `unreachable`", "task 4211 on rack-2: 2.5 s"]
    {
        assert!(described.contains(part), "{part} is not in {described}");
    }
    keys(&mut state, "t");
    assert_eq!(state.prompt(), Some(&TopPrompt::Task(JobId([7; 16]), "17".to_owned(), false)));
    keys(&mut state, "\x08x8\n");
    assert_eq!(state.page(), Some(TopPageKind::Describe(TopThing::Task(JobId([7; 16]), 18))));
    keys(&mut state, "\x1b");
    assert!(texts(&state).join("\n").contains("44 %"), "the description is still there");
}

#[test]
fn the_log_of_a_failed_task_says_why_and_what_it_wrote_harmlessly() {
    let mut state = seen(80, 24);
    keys(&mut state, "3/million\n\n");
    answer(&mut state, |round| round.detail = Some(job_detail()));
    keys(&mut state, "l\n");
    assert_eq!(state.page(), Some(TopPageKind::Logs(TopThing::Task(JobId([7; 16]), 17))));
    answer(&mut state, |round| round.detail = Some(task_detail()));
    let expected = [
        "  on rack-1 after 1.5 ms: trap: wasm `unreachable` instruction executed",
        "    at sieve",
        r"    it wrote: no number: \u{1b}[31mx",
    ];
    assert_eq!(texts(&state), expected);
}

#[test]
fn a_worker_that_ended_says_how_and_cannot_be_stopped() {
    let mut state = seen(80, 24);
    keys(&mut state, "4G");
    assert_eq!(shown(&state), ["w1.1", "w1.2", ">w1.3"]);
    assert_eq!(keys(&mut state, "^k"), None);
    assert_eq!(status(&state), "worker w1.3 has ended: its host was lost");
    keys(&mut state, "d");
    assert!(
        texts(&state).iter().any(|line| line.ends_with("ended: its host was lost")),
        "{:?}",
        texts(&state)
    );
    answer(&mut state, |round| {
        round.workers = Some(vec![worker(1, WorkerState::Running)]);
        round.detail = Some(crate::command::top::data::TopDetail::Worker(None));
    });
    assert_eq!(texts(&state), ["the manager knows no such worker any more"]);
    keys(&mut state, "\x1b^k");
    let Some(TopPrompt::Confirm(TopDeed::StopWorker { worker, .. }, false)) = state.prompt() else {
        panic!("{:?}", state.prompt())
    };
    assert_eq!(*worker, WorkerId::new(1, 1));
}

#[test]
fn the_last_event_stays_selected_until_one_moves_up() {
    let mut state = seen(80, 24);
    keys(&mut state, "6");
    let add = |state: &mut TopState, seq| answer(state, |round| round.events = vec![joined(seq, "more")]);
    add(&mut state, 3);
    assert!(shown(&state)[2].starts_with('>'), "{:?}", shown(&state));
    keys(&mut state, "k");
    add(&mut state, 4);
    assert!(shown(&state)[1].starts_with('>'), "{:?}", shown(&state));
    keys(&mut state, "G");
    add(&mut state, 5);
    assert!(shown(&state)[4].starts_with('>'), "{:?}", shown(&state));
}

#[test]
fn missed_events_are_said_and_no_more_than_two_thousand_are_kept() {
    let mut state = seen(80, 24);
    answer(&mut state, |round| {
        round.missed = 120;
        round.events = (1000..4000).map(|seq| joined(seq, "rack")).collect();
    });
    assert_eq!(state.known().events.len(), 2000);
    answer(&mut state, |round| round.missed = 1);
    let last = state.known().events.back().unwrap();
    assert_eq!((last.kind, last.text.as_str()), ("missed", "1 event is missing here: they came too fast"));
}

#[test]
fn an_event_leads_to_what_it_is_about() {
    let mut state = seen(80, 24);
    keys(&mut state, "6\n");
    assert!(
        texts(&state).iter().any(|line| line.contains("task 17 failed: it failed 3 times")),
        "{:?}",
        texts(&state)
    );
    keys(&mut state, "\n");
    assert_eq!(state.page(), Some(TopPageKind::Describe(TopThing::Task(JobId([7; 16]), 17))));
}

#[test]
fn a_lost_connection_is_said_since_when_and_the_screen_stays() {
    let mut state = seen(80, 24);
    keys(&mut state, "2ss");
    let lost = |unix_ms| TopNews::Lost { unix_ms, why: "it does not answer".to_owned() };
    state.handle_news(lost(NOW_MS));
    state.handle_news(lost(NOW_MS + 5000));
    assert_eq!(status(&state), "no answer since 22:13:20 UTC, trying again: it does not answer");
    assert_eq!((shown(&state).len(), state.is_lost()), (3, true));
    answer(&mut state, |round| round.started_anew = true);
    assert_eq!((status(&state), state.is_lost()), ("the manager answers again".to_owned(), false));
    assert_eq!(state.known().events.back().unwrap().text, "the manager was started again");
}

#[test]
fn a_store_that_takes_nothing_is_said() {
    let mut state = seen(80, 24);
    answer(&mut state, |round| round.status.store_trouble = Some("the disk is full".to_owned()));
    assert_eq!(status(&state), "the manager's store takes nothing: the disk is full");
}

#[test]
fn the_rate_of_a_job_is_that_of_the_last_seconds_and_foretells_its_end() {
    use crate::command::top::samples::overview;
    let mut state = seen(120, 40);
    for second in 1..=30 {
        answer(&mut state, |round| {
            // A hundred a second, then ten.
            let done = if second <= 10 { 100 * second } else { 1000 + 10 * (second - 10) };
            round.overview = Some(overview(NOW_MS + 1000 * second));
            round.jobs = Some(vec![job(1, "x", JobState::Closed, done, 0)]);
        });
    }
    let job = job(1, "x", JobState::Closed, 1200, 0);
    let (rate, left) = state.known().forecast(&job);
    assert_eq!((rate, left), (Some(10.0), Some(880)));
}

#[test]
fn help_opens_and_closes_with_the_same_key_and_can_be_filtered() {
    let mut state = seen(80, 24);
    keys(&mut state, "?/drain\n");
    assert_eq!(texts(&state), ["  ctrl-d         drain a host; asks first"]);
    keys(&mut state, "?");
    assert_eq!(state.page(), None);
}
