/* Runs a SavedModel's signatures through TensorFlow's C API: no Python in the process, as in a server.
 *
 *     saved_model FOLDER JOBS
 *
 * JOBS is a text of lines, each a command: the tensors of one run, then `run`. Files hold bare float32 numbers.
 *     in  OPERATION INDEX FILE RANK SIZE...
 *     out OPERATION INDEX FILE
 *     run
 * A run that fails leaves no files, and its error on stderr; the next goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

#define MOST 16

static void stop(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(const TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) stop(what, TF_Message(status));
}

static FILE *opened(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (!file) stop(path, "cannot be opened");
  return file;
}

static TF_Output place(TF_Graph *graph, const char *name, int index) {
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (!output.oper) stop(name, "no such operation");
  return output;
}

static TF_Tensor *read_tensor(const char *path, const int64_t *sizes, int rank) {
  size_t bytes = sizeof(float);
  for (int i = 0; i < rank; i++) bytes *= sizes[i];
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, sizes, rank, bytes);
  FILE *file = opened(path, "rb");
  if (fread(TF_TensorData(tensor), 1, bytes, file) != bytes) stop(path, "is too short");
  fclose(file);
  return tensor;
}

int main(int count, char **arguments) {
  if (count != 3) stop(arguments[0], "FOLDER JOBS");
  const char *tags[] = {"serve"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  check(status, arguments[1]);

  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *values[MOST], *results[MOST];
  char files[MOST][1024], command[16], name[512], path[1024];
  int given = 0, asked = 0, runs = 0, failed = 0, index, rank;
  FILE *jobs = opened(arguments[2], "r");
  while (fscanf(jobs, "%15s", command) == 1) {
    if (!strcmp(command, "run")) {
      TF_SessionRun(session, NULL, inputs, values, given, outputs, results, asked, NULL, 0, NULL, status);
      if (TF_GetCode(status) != TF_OK) {
        fprintf(stderr, "%s\n", TF_Message(status));
        asked = 0;
        failed++;
      }
      for (int i = 0; i < asked; i++) {
        FILE *file = opened(files[i], "wb");
        fwrite(TF_TensorData(results[i]), 1, TF_TensorByteSize(results[i]), file);
        fclose(file);
        TF_DeleteTensor(results[i]);
      }
      for (int i = 0; i < given; i++) TF_DeleteTensor(values[i]);
      given = asked = 0;
      runs++;
      continue;
    }
    if (fscanf(jobs, "%511s %d %1023s", name, &index, path) != 3 || given == MOST || asked == MOST) stop(command, "cut short");
    if (!strcmp(command, "in")) {
      int64_t sizes[8];
      if (fscanf(jobs, "%d", &rank) != 1 || rank > 8) stop(name, "no rank");
      for (int i = 0; i < rank; i++)
        if (fscanf(jobs, "%ld", &sizes[i]) != 1) stop(name, "no sizes");
      inputs[given] = place(graph, name, index);
      values[given++] = read_tensor(path, sizes, rank);
    } else {
      outputs[asked] = place(graph, name, index);
      strcpy(files[asked++], path);
    }
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  printf("%d runs, %d failed\n", runs, failed);
  return 0;
}
