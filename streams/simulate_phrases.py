"""What simulated users say about courses, by sentiment and language. `{subject}` is the course's.

Two phrases of one sentiment make a comment; openings and closings add variety without sentiment.
"""

from __future__ import annotations

from typing import Literal

Sentiment = Literal["negative", "neutral", "positive"]
Cause = Literal["refund", "certificate", "outage"]

PHRASES: dict[tuple[Sentiment, str], tuple[str, ...]] = {
    ("positive", "zh"): (
        "老师讲得非常清楚,{subject}终于学明白了",
        "内容很充实,干货满满,强烈推荐",
        "非常满意,物超所值",
        "案例很实用,学完马上就能用在工作里",
        "老师很有耐心,有问必答,非常好",
        "循序渐进,零基础也能轻松跟上,太棒了",
        "这是我学过最好的{subject}课",
        "讲解生动有趣,一点都不枯燥,很喜欢",
        "作业设计得很好,收获特别大",
        "质量很高,已经推荐给同事了",
        "画面清晰,声音好听,学习体验很好",
        "学完顺利通过了面试,非常感谢老师",
        "课程更新快,服务也很贴心,五星好评",
        "思路清晰,重点突出,值得买",
    ),
    ("positive", "en"): (
        "The teacher explains {subject} wonderfully, I finally understand it",
        "Excellent course, full of useful examples",
        "Great value, I highly recommend it",
        "I love how clear and well organised the lessons are",
        "The best {subject} course I have taken so far",
        "Very helpful, I used it at work the next day",
        "The instructor is patient and answers every question, fantastic",
        "Really enjoyable, I looked forward to every lesson",
        "The exercises are superb and I learned a lot",
        "Beautifully made, great sound and picture",
        "I passed my interview thanks to this course, so happy",
        "Perfect pace for beginners, thank you so much",
        "Brilliant projects, well worth the money",
    ),
    ("negative", "zh"): (
        "讲得太差了,完全听不懂",
        "内容太浅,浪费钱,很失望",
        "老师照着念PPT,枯燥无聊,不推荐",
        "音质很差,杂音大得听不清,体验极差",
        "内容早就过时了,根本用不上,后悔买了",
        "作业没人批改,提问没人理,服务太差",
        "和宣传的完全不一样,感觉被骗了",
        "视频老是卡顿,根本没法学,气死我了",
        "{subject}讲得一塌糊涂,错误百出",
        "节奏混乱,废话太多,浪费时间",
        "价格这么贵,质量这么烂,差评",
        "资料下载不了,客服也不回复,太垃圾了",
    ),
    ("negative", "en"): (
        "Terrible course, I could not follow a single lesson",
        "A waste of money, very disappointed",
        "The teacher just reads the slides, so boring and useless",
        "The sound is awful, I could barely hear anything",
        "Outdated material full of mistakes, I regret buying it",
        "Nobody answers questions, support is horrible",
        "Not at all what was advertised, I feel cheated",
        "The videos keep freezing, really frustrating",
        "{subject} is explained badly and in a confusing way",
        "Badly structured and far too long, I gave up",
        "Overpriced and poor quality, do not buy",
        "The worst {subject} course I have ever taken",
    ),
    ("neutral", "zh"): (
        "请问这门课有配套的课件吗",
        "第三章什么时候更新",
        "我今天开始学{subject},打算一周学完",
        "一共二十四节课,每节大约四十分钟",
        "想问一下需要什么基础",
        "请问学完之后有考试吗",
        "这门课和上一期的内容一样吗",
        "课程用的是哪个版本的软件",
        "周末看完了前两章",
        "请问手机上可以看吗",
    ),
    ("neutral", "en"): (
        "Does this course come with slides?",
        "When will chapter three be published?",
        "I started {subject} today and plan to finish next week",
        "There are 24 lessons of about forty minutes each",
        "Which version of the software is used here?",
        "What do I need to know before I start?",
        "Is there an exam at the end of the course?",
        "Watched the first two chapters this weekend",
        "Can I watch the lessons on my phone?",
        "Is this the same content as last year's class?",
    ),
}

MIXED: dict[str, tuple[str, ...]] = {
    "zh": (
        "内容还可以,就是节奏有点慢",
        "中规中矩吧,有些章节不错,有些一般",
        "老师水平还行,不过案例偏少",
        "还行,没有想象中那么好,也不算差",
    ),
    "en": (
        "It is okay, some chapters are good and some are average",
        "Decent content, but the pace is a bit slow",
        "Neither great nor bad, about what I expected",
        "The teacher is fine, though there are few examples",
    ),
}

OPENINGS: dict[str, tuple[str, ...]] = {
    "zh": ("", "", "", "刚学完。", "学了一半来评价:", "说说我的感受,"),
    "en": ("", "", "", "Just finished. ", "Halfway through: ", "My two cents: "),
}

SCANDALS: dict[tuple[Cause, str], tuple[str, ...]] = {
    ("refund", "zh"): (
        "申请退款一周了还不退,客服一直推脱,太气人了",
        "说好七天无理由退款,现在拒绝退款,骗子",
        "退款被驳回,客服电话也打不通,非常失望",
        "课程取消了却不退钱,这是欺诈,大家别买",
        "退款申请石沉大海,没人处理,垃圾平台",
        "承诺的退款到现在没有到账,差评,要投诉",
        "扣了我两次钱还不给退,态度极差",
        "退款流程故意刁难人,再也不会买了",
    ),
    ("refund", "en"): (
        "They refuse my refund although the class was cancelled, this is a scam",
        "Still no refund after a week and support ignores me, terrible",
        "I was charged twice and nobody will refund me, awful service",
        "The promised money-back guarantee is a lie, refund rejected",
        "Refund denied without any reason, I am furious",
        "Worst experience ever, they keep my money and do not answer",
        "Support keeps stalling on my refund, do not buy this course",
        "My refund never arrived, I feel cheated",
    ),
    ("certificate", "zh"): (
        "学完了却不发证书,客服说没有这回事,被骗了",
        "证书根本不被认可,宣传全是假的,太失望了",
        "证书申请一个月都没消息,没人管,差评",
        "花钱买的课,证书上名字还写错,不给改,气死了",
        "说好有官方证书,结果什么都没有,骗子",
        "证书查询不到,单位不承认,白花钱了",
        "拿不到证书,投诉也没人理,垃圾课程",
        "证书要另外收费,之前完全没说,欺骗消费者",
    ),
    ("certificate", "en"): (
        "I finished everything and they refuse to issue the certificate, what a scam",
        "The certificate is not recognised anywhere, the advertising was a lie",
        "Still waiting for my certificate after a month, terrible support",
        "They want extra money for the certificate, I feel cheated",
        "My certificate has the wrong name and nobody fixes it, so frustrating",
        "No certificate, no answer, a complete waste of money",
        "My employer rejected this worthless certificate, very disappointed",
        "Fake certificate promise, avoid this course",
    ),
    ("outage", "zh"): (
        "直播课又打不开,一晚上都在转圈,气死了",
        "系统崩溃了一整天,课也上不了,太差劲",
        "视频全部播放失败,客服也不解决,差评",
        "考前登录不上去,耽误大事,非常愤怒",
        "一直显示服务器错误,根本没法学习,垃圾",
        "学习记录全丢了,没人负责,太失望",
    ),
    ("outage", "en"): (
        "The live class will not load again, this is unacceptable",
        "The site was down all day and I missed the lesson, awful",
        "Every video fails to play and support does nothing",
        "I cannot log in the night before the exam, furious",
        "Nothing but server errors, impossible to study, terrible",
        "All my progress is lost and nobody cares, very disappointed",
    ),
}
