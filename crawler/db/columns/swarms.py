"""What the tables and views about swarms hold, in words."""

from crawler.db.columns.format import table

SWARM_TEXTS = (
    table(
        "swarms",
        "One row for each info-hash ever met.",
        """
        = info_hash
        first_seen time When it was first met.
        last_seen time When it was last met.
        source text How it came to be known: the command line, a sample (BEP 51), a list.
        = name
        """,
    ),
    table(
        "swarm_samples",
        "One row for each measurement of a swarm: a time series, never overwritten.",
        """
        = id run_id info_hash taken_at seeds leechers peers peers_low peers_high
        method text How the number of peers came about: union, pair-ratio, chao2, distinct, none.
        = saturated nodes_asked nodes_answered nodes_with_filters distinct_peers bytes_sent bytes_received
        = seeds_low seeds_high leechers_low leechers_high
        overlap number Hosts that are in filters of seeds and of other peers both, estimated.
        = coverage
        """,
    ),
    table(
        "scrape_replies",
        "One row for each node asked about a swarm, the silent too: what a measurement came from.",
        """
        = sample_id
        = node_id address port
        rank integer Place of the node by distance to the info-hash among those asked, 0 the closest.
        seeds_filter bytes!never The filter of seeds, 256 bytes (BEP 33).
        peers_filter bytes!never The filter of other peers, 256 bytes (BEP 33).
        values_count integer Peers that the node listed by address; the addresses are not kept.
        = version rtt_ms marks outcome
        asked_at time When the node was asked; NULL in rows of older versions.
        = family
        named_tokens bytes!never Tokens of 8 bytes for the hosts it listed; their key goes with the run.
        named_filter bytes!never The bits of these hosts, 256 bytes, as a filter has them.
        unplaced_filter bytes!never The bits of those of them that no filter of seeds holds.
        """,
    ),
    table(
        "node_samples",
        "One row for each request for a sample of info-hashes (BEP 51).",
        """
        = id run_id node_id address port family taken_at outcome error_code rtt_ms version
        num integer How many info-hashes the node says it stores.
        interval integer:s How long it asks to be left alone.
        returned integer Info-hashes in its sample.
        new integer Those of them not known before; NULL until they are in swarms.
        next_at time When it may be asked again.
        = contacts new_contacts marks
        samples bytes The info-hashes, 20 bytes each, one after the other.
        """,
    ),
    table(
        "sample_turns",
        "When each node may be asked for a sample again.",
        """
        place text!never Address and port of the node, or prefix, port and id in an anonymized database.
        = node_id family
        asked_at time When it was last asked.
        next_at time When it may be asked again.
        interval integer:s How long it asked to be left alone.
        chances integer How often it may still be silent before it is not asked any more.
        """,
        exported=False,
    ),
    table(
        "discovery_estimates",
        "One row for each run of samples, family and method: how many info-hashes there are.",
        """
        = id run_id family
        method text How: coverage (a share from 0 to 1), chao1 (a lower bound), horvitz-thompson.
        estimate number Info-hashes, or the share of them.
        = low high zone details
        """,
    ),
    table(
        "latest_swarms",
        "The newest measurement of each swarm; counts are rounded.",
        """
        = info_hash
        = name
        = taken_at seeds leechers peers peers_low peers_high saturated method
        = nodes_asked nodes_answered nodes_with_filters distinct_peers
        = seeds_low seeds_high leechers_low leechers_high coverage
        = sample_id
        """,
    ),
    table(
        "swarm_estimates",
        "One row for each measurement, subject and method: what each method says of the same replies.",
        """
        = sample_id
        subject text!subject What is estimated: peers, seeds or leechers.
        = method
        estimate number What the method says.
        = low high
        """,
    ),
    table(
        "torrents",
        "One row for each torrent that peers have told of (BEP 9); of a private one no more than that it is.",
        """
        = info_hash run_id fetched_at is_private name size files
        pieces integer Its pieces.
        """,
    ),
    table(
        "swarm_handshakes",
        "One row for each time that peers of a swarm were contacted over TCP: what they said of themselves.",
        """
        = id run_id info_hash taken_at
        peers_named integer Peers whose addresses were known; these are not kept.
        = peers_tried peers_answered
        seeds integer Those that said they have all.
        leechers integer Those that said they do not.
        unknown integer Those that did not say.
        upload_only integer Those that want nothing more (BEP 21), seeds or not.
        = seed_share seed_share_low seed_share_high
        clients json How many of them named which client, by two letters.
        = bytes_sent bytes_received
        """,
    ),
    table(
        "torrent_swarms",
        "Each torrent that is known with the newest handshakes of its swarm.",
        """
        = info_hash name size files is_private fetched_at
        taken_at time When its peers were contacted.
        = peers_tried peers_answered
        seeds integer Peers that said they have all.
        leechers integer Peers that said they do not.
        unknown integer Peers that did not say.
        = seed_share seed_share_low seed_share_high
        """,
    ),
    table(
        "watched_swarms",
        "One row for each swarm on the list of `dhtcrawl watch`, and what its next turn goes by.",
        """
        = info_hash
        source text Who put it there: given on the command line, list, or bep51 for those discovered.
        since time When it came onto the list.
        removed_at time When it was taken off; NULL while it is watched.
        next_at time When it is due.
        interval number:s The time between two measurements, before jitter and the budget.
        tried_at time When its last turn was taken.
        measured_at time When it was last measured.
        peers number What was found then.
        = peers_low peers_high
        empties integer Measurements without a peer in a row.
        failures integer Turns in a row that nobody answered.
        failure text Why the last turn failed; NULL if it did not.
        """,
    ),
    table(
        "retention",
        "How far the deletion of old filters has come.",
        """
        task text What is deleted.
        done_to integer The last sample that was done with (swarm_samples.id).
        done_at time When it was last through.
        """,
        exported=False,
    ),
    table(
        "swarm_history",
        "One row for each measurement of a swarm, beside the one before it.",
        """
        = info_hash taken_at peers peers_low peers_high seeds leechers method saturated
        hours number:h Time since the measurement before.
        change number:peers Difference to the measurement before.
        relative_change number The difference as a share of the size before.
        change_per_hour number:peers/h The difference by the hour.
        is_clear flag Whether the two intervals do not meet; most other changes are noise.
        = sample_id
        """,
    ),
    table(
        "swarm_growth",
        "One row for each swarm and day (UTC) on which it was measured.",
        """
        = info_hash
        day text The day, YYYY-MM-DD.
        samples integer Measurements of the day.
        first number:peers The first of them.
        last number:peers The last of them.
        mean number:peers Their mean.
        change_per_day number:peers/d Change since the last measurement before the day, by the day.
        change_per_day_low number:peers/d Lower end of its interval, which is wider than 95 % would be.
        change_per_day_high number:peers/d Upper end of its interval, which is wider than 95 % would be.
        """,
    ),
    table(
        "swarm_half_life",
        "One row for each swarm that is clearly smaller now than at its peak.",
        """
        = info_hash
        peak number:peers The largest size measured.
        peak_at time When that was.
        peers number The size at the newest measurement.
        measured_at time When that was made.
        half_life_hours number:h From the peak to half of it; NULL if it is larger than that still.
        half_life_hours_low number:h The least that the intervals allow.
        half_life_hours_high number:h The most that they allow; NULL for no end.
        """,
    ),
    table(
        "dead_swarms",
        "One row for each swarm whose last three measurements, or more, found nobody.",
        """
        = info_hash name
        last_alive time When somebody was last there; NULL for never.
        empty_since time The first of the measurements without a peer.
        measured_at time The last of them.
        empty_samples integer How many there are.
        empty_days number:d The time between the first and the last of them.
        """,
    ),
    table(
        "combined_samples",
        "One row for each swarm and window of time in which several vantages have measured it.",
        """
        = info_hash window_start window_end seeds leechers peers peers_low peers_high
        = seeds_low seeds_high leechers_low leechers_high method saturated
        = vantages samples
        newest_sample integer The newest of them (swarm_samples.id).
        = nodes_answered nodes_with_filters distinct_peers
        """,
    ),
    table(
        "latest_combined",
        "The newest combined sample of each swarm; counts are rounded.",
        """
        = info_hash name window_start window_end seeds leechers peers peers_low peers_high
        = seeds_low seeds_high leechers_low leechers_high saturated method
        = vantages samples nodes_answered nodes_with_filters distinct_peers
        """,
    ),
)
