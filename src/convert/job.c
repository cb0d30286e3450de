#include "convert/job.h"

#include "base/machine.h"
#include "base/progress.h"
#include "base/threads.h"
#include "formats/notes.h"

static bool open_folder(struct job *j, const char *checkpoint, struct error *err)
{
    j->is_open = checkpoint_list_folder(&j->inputs, checkpoint, err)
              && checkpoint_open(&j->ck, checkpoint, err);
    j->is_bound = j->is_open && checkpoint_list_weights(&j->inputs, &j->ck, err)
               && weights_bind(&j->w, &j->ck, err);
    return j->is_bound;
}

/* As eval does. */
static bool warn_notes(const struct job *j, struct error *err)
{
    struct buffer notes = { 0 };
    bool ok = notes_list(&notes, &j->ck, &j->w, err);
    const char *rest = ok ? notes.data : NULL, *line;
    size_t n;
    while (j->progress.warn && (line = notes_next(&rest, &n))) {
        struct error safe = { 0 };
        error_set(&safe, "%.*s", (int)n, line);
        j->progress.warn(j->progress.user, safe.message);
    }
    buffer_free(&notes);
    return ok;
}

static bool borrow(struct job *j, const struct opened_checkpoint *from, struct error *err)
{
    j->ck = *from->ck;
    j->w = *from->w;
    return input_files_add_all(&j->inputs, from->inputs, err)
        && input_files_check(&j->inputs, NULL, &j->progress, err);
}

bool job_open(struct job *j, const char *checkpoint, const struct opened_checkpoint *opened,
              const struct surprisal_machine *machine, struct error *err)
{
    int n_threads = machine->threads;
    j->peak_before = machine_peak_memory();
    j->progress = PROGRESS_OF(&machine->progress);
    j->stream = (struct stream){ .ck = &j->ck, .layout = &j->layout, .progress = &j->progress,
                                 .n_threads = n_threads > 0 ? n_threads : machine_processors() };
    j->stream.kn = kernels_find(machine->isa, err);
    return j->stream.kn && threads_start(j->stream.n_threads, 0, err)
        && (opened ? borrow(j, opened, err) : open_folder(j, checkpoint, err) && warn_notes(j, err))
        && weight_list_of_model(&j->modules, &j->ck, &j->w, err);
}

static bool add_figures(cJSON *result, const struct job *j, double seconds, struct error *err)
{
    const struct stream *s = &j->stream;
    size_t peak = machine_peak_memory_since(j->peak_before);
    bool ok = json_add_size(result, "bytes_read", s->done_bytes)
           && json_add_size(result, "bytes_written", j->folder.bytes)
           && json_add_size(result, "shards", j->layout.n_shards)
           && json_add_size(result, "shards_kept", j->folder.kept)
           && json_add_size(result, "threads", (size_t)s->n_threads)
           && cJSON_AddStringToObject(result, "isa", s->kn->isa)
           && json_add_double(result, "seconds", seconds)
           && json_add_double(result, "bytes_read_per_second", (double)s->done_bytes / seconds)
           && (peak ? json_add_size(result, "peak_rss_bytes", peak)
                    : cJSON_AddNullToObject(result, "peak_rss_bytes"));
    return ok || error_set(err, "out of memory: the result");
}

bool job_run(struct job *j, const char *out, const char *config, const struct digest *settings,
             bool resume, cJSON *result, struct error *err)
{
    double start = machine_seconds();
    for (size_t i = 0; i < j->layout.n_tasks; i++)
        j->stream.total_bytes += j->layout.tasks[i].module->stored.n_bytes;
    j->folder = (struct unfinished_checkpoint){
        .path = out, .texts = j->folder.texts,
        .work = { &j->ck, &j->layout, config, *settings }, .resume = resume,
        .progress = &j->progress, .inputs = &j->inputs,
    };
    return unfinished_checkpoint_write(&j->folder, &j->stream, err)
        && add_figures(result, j, machine_seconds() - start, err);
}

void job_close(struct job *j)
{
    stream_free(&j->stream);
    layout_free(&j->layout);
    weight_list_free(&j->modules);
    input_files_free(&j->inputs);
    if (j->is_bound)
        weights_free(&j->w);
    if (j->is_open)
        checkpoint_close(&j->ck);
}
