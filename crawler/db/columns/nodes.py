"""What the tables and views about runs and nodes hold, in words."""

from crawler.db.columns.format import table

NODE_TEXTS = (
    table(
        "runs",
        "One row for each invocation of the crawler: who wrote the other rows, when, with which settings.",
        """
        id integer Number of the run.
        command text The command that ran.
        = started_at
        finished_at time When it ended; NULL while it runs, or when nobody saw the end.
        status text running, finished or interrupted.
        version text The version of this software.
        settings json The settings it ran with.
        pid integer The number of its process on the machine it ran on.
        """,
    ),
    table(
        "vantages",
        "One row for each database whose runs are here.",
        """
        identity text Its identity, drawn at random when it was made.
        is_here flag Whether it is this one.
        """,
    ),
    table(
        "merged_runs",
        "One row for each run that came from another database.",
        """
        = run_id
        vantage text Where it was made (vantages.identity).
        number integer The number that it had there.
        """,
    ),
    table(
        "run_vantages",
        "One row for each run: in which database it was made, and which number it had there.",
        """
        = run_id
        command text The command that ran.
        = started_at
        vantage text Where it was made (vantages.identity).
        number integer The number that it had there.
        is_here flag Whether that is this database.
        """,
    ),
    table(
        "nodes",
        "One row for each node ever met: an id at an address and port.",
        """
        = node_id address port family
        first_seen time When it was first asked.
        last_seen time When it was last asked.
        last_answer time When it last answered.
        = version client
        """,
    ),
    table(
        "visits",
        "One row for each visit of a census to a node, whatever came of it.",
        """
        = id run_id node_id address port taken_at outcome rtt_ms version contacts new_contacts
        referrers integer Nodes that had named this one when it was asked; 5 stands for five and more.
        = error_code
        conforms flag Whether the id goes with the address (BEP 42); NULL where that cannot be judged.
        unusable integer Contacts it named with addresses that nobody may ask.
        = marks
        is_verification flag Whether it had answered before, and was asked only if it still is there.
        """,
    ),
    table(
        "crawl_journal",
        "What an interrupted census goes on from; deleted when it has come to its end.",
        """
        = id run_id family
        contacts bytes!never Endpoints met since the last row, as the crawler keeps them.
        changes bytes!never What became of endpoints since the last row.
        """,
        exported=False,
    ),
    table(
        "run_counts",
        "One row for each run that has ended, and family in it: nodes counted, those missed not added.",
        "= run_id family sighted answered_once answered_twice distinct_ids distinct_endpoints distinct_ips",
        groups="answered_once >= 10",
    ),
    table(
        "run_clients",
        "One row for each run that has ended, family and client in it.",
        """
        = run_id family client
        nodes integer Nodes of this client that answered.
        rtt_ms number:ms Mean round-trip time, of the fastest answer of each node.
        conforming integer Ids that go with their address (BEP 42).
        judged integer Ids of which that can be said.
        """,
        groups="nodes >= 10",
    ),
    table(
        "size_estimates",
        "One row for each run, family and method: how many nodes the network has.",
        """
        = run_id family
        method text How: counted, crawl (the headline), distances, median, chapman.
        estimate number:nodes Nodes of the whole network.
        = low high zone details
        """,
    ),
    table(
        "alarms",
        "One row for each test that raised an alarm, or that was asked for: ids beyond chance.",
        """
        = run_id family test subject observed expected p_value
        verdict text suspect or inconspicuous.
        """,
    ),
    table(
        "run_outcomes",
        "One row for each run that has ended, family, kind and outcome: how queries ended.",
        """
        = run_id family
        kind text visit (of a census), verification (a second visit), or sample (BEP 51).
        = outcome error_code
        queries integer How many ended so; a visit counts once, whatever number of packets it took.
        marked integer Those of them with marks.
        """,
        groups="queries >= 10",
    ),
    table(
        "run_round_trips",
        "One row for each run that has ended, family, client and step of time: answers that took so long.",
        """
        = run_id family client
        from_ms number:ms The shortest time of the step.
        below_ms number:ms The time that the step ends before, 10 % more or less than that.
        answers integer Answers with such a round-trip time.
        """,
        groups="""(run_id, family, client) IN (
            SELECT run_id, family, client FROM run_round_trips GROUP BY 1, 2, 3 HAVING sum(answers) >= 10
        )""",
    ),
    table(
        "run_support",
        "One row for each run, BEP and client: who supports what, by their replies.",
        """
        = run_id
        bep integer 33 (scrapes) or 51 (samples of info-hashes).
        = client
        replies integer Replies that could show it.
        capable integer Those of them with filters, or with samples.
        """,
        groups="replies >= 10",
    ),
    table(
        "run_costs",
        "One row for each run that has ended: what it did and what it cost.",
        """
        = run_id
        visits integer Rows in visits.
        swarm_samples integer Rows in swarm_samples.
        node_samples integer Rows in node_samples.
        handshakes integer Rows in swarm_handshakes.
        asked integer Nodes asked, each visit, sample and scrape; one to four queries each.
        answered integer Those that answered.
        peers_tried integer Peers contacted over TCP.
        bytes_sent integer:B Bytes sent by scrapes and handshakes; NULL where there were none.
        bytes_received integer:B Bytes received by scrapes and handshakes; NULL where there were none.
        """,
    ),
    table(
        "network_size",
        "One row for each run and family: three counts of nodes, and estimates that add those missed.",
        """
        = run_id started_at family sighted answered_once answered_twice
        = distinct_ids distinct_endpoints distinct_ips zone
        estimate integer:nodes Nodes of the whole network, from the crawl.
        low integer:nodes Lower end of the 95 % interval of estimate.
        high integer:nodes Upper end of the 95 % interval of estimate.
        by_distances integer:nodes Nodes of the whole network, from distances between ids.
        by_distances_low integer:nodes Lower end of the 95 % interval of by_distances.
        by_distances_high integer:nodes Upper end of the 95 % interval of by_distances.
        """,
        groups="answered_once >= 10",
    ),
    table(
        "sybil_suspects",
        "The alarms whose verdict is suspect, the least likely first; a mark, no proof.",
        "= run_id started_at family test subject observed expected p_value",
    ),
    table(
        "suspect_nodes",
        "One row for each node of a run, and mark or outcome that makes it suspect.",
        """
        = run_id node_id address port family
        mark text The mark, or the outcome where that is a lie by itself.
        visits integer Visits that show it.
        last_seen time When the last of them was.
        """,
    ),
    table(
        "client_versions",
        "One row for each client of the nodes that ever answered.",
        """
        = client
        nodes integer Nodes of this client.
        share number Their share of all, from 0 to 1.
        versions integer Different versions among them.
        """,
        groups="nodes >= 10",
    ),
    table(
        "client_census",
        "One row for each run that has ended, and client in it: how many, how fast, what they support.",
        """
        = run_id client
        nodes integer Nodes of this client that answered.
        share number Their share of all of the run, from 0 to 1.
        rtt_ms number:ms Mean round-trip time.
        bep33 number Share of replies with filters among its replies to scrapes, in all runs.
        bep42 number Share of ids that go with their address, among those that can be judged.
        bep51 number Share of samples among its answers to requests for them, in all runs.
        """,
        groups="nodes >= 10",
    ),
)
