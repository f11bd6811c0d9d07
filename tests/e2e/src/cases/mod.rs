//! The cases, one file for each thing that people rely on.

mod bad_input;
mod clock;
mod conformance;
mod crash;
mod down;
mod full_disk;
mod house;
mod large;
mod main_job;
mod pilots;
mod scene;
mod several;
mod soak;
mod survival;
mod verified;
mod weather;

use libtest_mimic::Trial;

macro_rules! trials {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($name)), || { $module::$name(); Ok(()) })),*]
    };
}

pub(crate) fn all() -> Vec<Trial> {
    let mut trials = trials![
        conformance::s3_on_ceph_keeps_its_promises,
        conformance::azureblob_keeps_its_promises,
        conformance::drive_keeps_its_promises,
        conformance::mega_keeps_its_promises,
        conformance::seafile_keeps_its_promises,
        main_job::is_done_on_ceph,
        main_job::is_done_on_rclone,
        main_job::is_done_with_postgres_as_registry,
        crash::closed_files_arrive_after_a_kill_during_uploads,
        crash::a_completion_whose_answer_was_lost_is_not_made_twice,
        crash::a_kill_while_a_completion_is_unanswered_loses_nothing,
        survival::everything_shows_while_it_is_carried_out,
        survival::of_a_local_folder,
        survival::of_s3,
        weather::what_passes_is_waited_out,
        weather::a_read_that_stalls_ends_in_time_and_holds_nobody_else,
        weather::an_answer_about_other_bytes_is_never_content,
        weather::a_file_that_changes_while_it_is_read_is_never_a_mixture,
        weather::what_changes_during_its_upload_leaves_no_parts_after_a_death,
        weather::credentials_that_expire_for_a_while_cost_nothing,
        weather::what_is_written_while_the_provider_is_away_arrives_once,
        full_disk::writers_are_refused_before_the_disk_is_full_and_lose_nothing,
        clock::a_jump_loses_nothing_and_stops_nothing,
        clock::a_clock_that_s3_refuses_for_a_while_loses_nothing,
        verified::every_block_is_where_it_was_written,
        bad_input::wrong_keys_are_refused_at_connect,
        bad_input::a_missing_bucket_is_absent,
        bad_input::a_clock_that_is_off_is_named,
        bad_input::a_truncated_answer_is_never_a_short_file,
        bad_input::an_error_inside_200_is_not_a_completed_upload,
        bad_input::an_error_inside_200_is_not_a_copy,
        bad_input::a_listing_that_fails_on_page_two_is_an_error,
        bad_input::a_redirect_carries_no_credential_elsewhere,
        bad_input::a_private_address_is_refused_unless_allowed,
        large::a_hundred_thousand_objects_list_completely,
        large::half_a_gigabyte_goes_there_and_back,
        down::mounts_stand_before_the_provider_does,
        down::a_server_that_hangs_holds_nobody_for_ever,
        several::mounts_of_one_backend_see_each_other,
        several::a_live_mount_is_changed,
        several::a_removed_mount_drains_first,
        several::what_is_pending_can_be_set_aside,
        several::a_local_folder_is_a_jail,
        several::memory_is_mounted_like_the_rest,
        several::an_alias_stands_for_a_place_in_s3,
        pilots::azureblob_through_a_mount,
        pilots::drive_through_a_mount,
        pilots::mega_through_a_mount,
        pilots::seafile_through_a_mount,
        house::wrong_settings_are_told_at_once,
        house::tenants_and_tokens_are_made_and_revoked,
        house::a_component_says_what_it_is,
        house::it_is_ready_soon_with_compiled_code_kept,
    ];
    if std::env::var_os("CAUSEWAY_SOAK").is_some() {
        trials.extend(trials![
            soak::five_gigabytes_go_there_and_back,
            soak::a_local_folder_survives_hundreds_of_deaths,
            soak::s3_survives_hundreds_of_deaths,
            soak::every_block_of_large_files_is_where_it_was_written,
        ]);
    }
    trials
}
