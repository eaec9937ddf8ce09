"""The stems of every figure and table of a report, with their captions.

Rules read this to declare their outputs (`results/<model>/figures/<stem>.png` and `.svg`,
`results/<model>/tables/<stem>.csv`), templates read it for captions. It imports nothing, so that it costs nothing.
"""

FIGURES: dict[str, str] = {
    "loss": "Total training loss at every step.",
    "loss_smoothed": "The same loss after exponential smoothing; the raw values stay visible behind it.",
    "loss_components": "Every component of the loss, weighted as it enters the total, averaged over each epoch.",
    "ap_curves": "AP, AP50 and AP75 on the validation images after each epoch.",
    "ap_smoothed": "The same AP curves, smoothed exponentially (weight of the past 0.6).",
    "ar_curves": "Average recall with 1, 10 and 100 detections per image after each epoch.",
    "learning_rate": "Learning rate of each optimiser group at every step, as the optimiser received it.",
    "epoch_time": "Wall-clock time of each epoch, training and evaluation apart.",
    "step_time": "Median training step split into data, forward + backward, and optimiser.",
    "latency_box": "Inference latency per image: quartiles, whiskers at 1.5 interquartile ranges, all outliers shown.",
    "latency_distribution": "Empirical distribution of the total inference latency; p50 and p99 are marked.",
    "memory": "Peak memory during inference and training, measured from outside the process.",
    "radar": "Summary on seven axes, each scaled to the better of the compared settings; outward is better.",
    "detections": "Ground truth and detections of each framework on the same validation images.",
    "alignment": "Relative difference of the total loss between the frameworks, step by step on equal batches.",
}

FIGURES_ZH: dict[str, str] = {
    "loss": "每一步的训练总损失。",
    "loss_smoothed": "同一损失经指数平滑后的曲线，背景为原始值。",
    "loss_components": "各损失分量（已乘以其在总损失中的权重）的逐轮平均值。",
    "ap_curves": "每轮结束后验证集上的 AP、AP50 与 AP75。",
    "ap_smoothed": "指数平滑后的 AP 曲线（过去的权重为 0.6）。",
    "ar_curves": "每轮结束后每图 1、10、100 个检测框时的平均召回率。",
    "learning_rate": "优化器在每一步实际收到的各参数组学习率。",
    "epoch_time": "每轮的实际用时，训练与评估分开。",
    "step_time": "训练单步用时的中位数，分为数据、前向与反向、优化器三部分。",
    "latency_box": "单图推理延迟：四分位数，须为 1.5 倍四分位距，离群点全部画出。",
    "latency_distribution": "总推理延迟的经验分布，标出 p50 与 p99。",
    "memory": "推理与训练时的峰值内存，从进程外部测量。",
    "radar": "七个维度的汇总，每一维以参与比较者中较优的一方为 1，越靠外越好。",
    "detections": "同一批验证图像上的真实标注与各框架的检测结果。",
    "alignment": "在相同批次上，两个框架总损失逐步的相对差异。",
}

TABLES: dict[str, str] = {
    "verdicts": "Equivalence tests against the margins fixed in the configuration.",
    "training": "Training: time, loss and parameters, with absolute and relative differences.",
    "performance": "All twelve COCO metrics: final weights, last and best epoch; the two APs of VOC for VOC data.",
    "per_epoch": "Mean loss of every component and AP after each epoch.",
    "per_class": "AP and AP50 of each class with the final weights.",
    "same_weights": "The same final weights evaluated by both frameworks.",
    "inference": "Inference latency per image and its split.",
    "training_speed": "Training step time and its split, throughput, and what the first step costs.",
    "memory": "Peak memory of each framework.",
    "model_size": "Parameters, multiply-accumulates and size of the weights file.",
    "conversion": "Conversion of the initial weights, tensor by tensor.",
    "alignment": "The alignment ladder; worst is the difference nearest to, or furthest over, its tolerance.",
    "audit": "Fairness audit of the runs, row by row.",
    "environment": "Versions, hardware, digests and seeds of every run and profile.",
    "variant": "What was chosen otherwise than in an official configuration.",
    "config": "The resolved configuration, key by key.",
}

TABLES_ZH: dict[str, str] = {
    "verdicts": "以配置中事先固定的界限所做的等效性检验。",
    "training": "训练：用时、损失与参数量，以及绝对差与相对差。",
    "performance": "最终权重、最后一轮与最佳一轮的十二项 COCO 指标；VOC 数据另列 VOC 的 AP。",
    "per_epoch": "每轮各损失分量的平均值与 AP。",
    "per_class": "最终权重在各类别上的 AP 与 AP50。",
    "same_weights": "同一最终权重分别由两个框架评估。",
    "inference": "单图推理延迟及其构成。",
    "training_speed": "训练单步用时及其构成、吞吐量，以及首步开销。",
    "memory": "各框架的峰值内存。",
    "model_size": "参数量、乘加次数与权重文件大小。",
    "conversion": "初始权重的逐张量转换结果。",
    "alignment": "逐级的对齐检查；“最差”是最接近或超出容差最多的差异。",
    "audit": "各次运行的公平性审计，逐项列出。",
    "environment": "每次运行与性能测试的版本、硬件、摘要与随机种子。",
    "variant": "与官方配置不同的设置。",
    "config": "展开后的完整配置，逐键列出。",
}
